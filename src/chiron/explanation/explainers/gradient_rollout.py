"""Gradient rollout: attention through all layers, as far as it raises the score of the class.

A layer counts by the positive part of attention times its gradient, the mean over the heads; what it adds to each
token's relevance is added to what the token held before. Where the grid changes within a network, the layers after the
change count. What a token holds of itself is left out, so that a network without positive gradients gives nothing.
Source: Chefer, Gur & Wolf 2021, arXiv:2103.15679, eqs 5 and 6.
"""

from collections.abc import Sequence

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.attention import attention_layers, why_no_attention
from chiron.explanation.subject import Subject

TITLE = "Gradient rollout"
CLASS_SPECIFIC = True
COST = "one forward and one backward pass"
why_not = why_no_attention


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the tokens."""
    layers = attention_layers(subject)
    return layers.as_maps(relevance(layers.weights, layers.gradients))


def relevance(
    weights: Sequence[Float[Tensor, "b _h _q n"]], gradients: Sequence[Float[Tensor, "b _h _q n"]]
) -> Float[Tensor, "b _q n"]:
    """How much the queries of the last layer took from each token that entered the first, beside themselves."""
    like = weights[0]
    own = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    taken = torch.zeros_like(own).expand(len(like), -1, -1)  # relevance without the identity
    for layer, gradient in zip(weights, gradients, strict=True):
        step = reduce((layer * gradient).relu(), "b h q n -> b q n", "mean")
        added = step @ (own + taken)
        taken = taken + added if step.shape[1:] == own.shape else added  # a single query that pools held nothing
    return taken
