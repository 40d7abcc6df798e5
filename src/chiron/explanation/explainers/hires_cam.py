"""HiResCAM: each place's features times its own gradients, positive part.

Where the score is a sum over places of the map layer, the map is each place's own share of it.
Source: Draelos and Carin 2020, arXiv:2011.08891.
"""

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations_and_gradients, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "HiResCAM"
CLASS_SPECIFIC = True
COST = "one forward and one backward pass"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps, gradients = activations_and_gradients(subject, find_map_layer(subject))
    return reduce(maps * gradients, "b c h w -> b h w", "sum").relu()
