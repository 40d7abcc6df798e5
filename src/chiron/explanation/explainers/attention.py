"""Attention: what the class token looks at in the last layer, the mean over the heads.

A network without a class token has the mean over all tokens that its score depends on. The weights say where a network
read, not what it made of it: they are the same for every class.
Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Dosovitskiy et al. 2021, arXiv:2010.11929.
"""

from jaxtyping import Float
from torch import Tensor

from chiron.explanation.attention import attention_layers, why_no_attention
from chiron.explanation.subject import Subject

TITLE = "Attention"
CLASS_SPECIFIC = False
COST = "one forward and one backward pass"
why_not = why_no_attention


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the tokens; places that a pruning dropped before are 0."""
    return attention_by_head(subject).mean(dim=1)


def attention_by_head(subject: Subject) -> Float[Tensor, "b _heads _gh _gw"]:
    """The same, each head of the last layer by itself.

    Raises:
        ExplainError: the network has no attention over all places.
    """
    layers = attention_layers(subject)
    return layers.as_maps(layers.weights[-1])
