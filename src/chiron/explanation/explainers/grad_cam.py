"""Grad-CAM: feature maps weighted by the mean gradient of each channel, positive part.

Source: Selvaraju et al. 2017, arXiv:1610.02391, eqs 1 and 2.
"""

from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations_and_gradients, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "Grad-CAM"
CLASS_SPECIFIC = True
COST = "one forward and one backward pass"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps, gradients = activations_and_gradients(subject, find_map_layer(subject))
    weights = reduce(gradients, "b c h w -> b c", "mean")
    return einsum(weights, maps, "b c, b c h w -> b h w").relu()
