"""Grad-CAM++: feature maps weighted by each channel's positive gradients, summed with a weight a place.

Source: Chattopadhyay et al. 2018, arXiv:1710.11063, eq. 19, of the class score.
Departures: none from pytorch-grad-cam; like there EPSILON stands in the divisor, so where gradients are far below its
root (0.001) a place counts by the third power of its gradient.
"""

from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations_and_gradients, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "Grad-CAM++"
CLASS_SPECIFIC = True
COST = "one forward and one backward pass"
EPSILON = 1e-6
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps, gradients = activations_and_gradients(subject, find_map_layer(subject))
    total = reduce(maps, "b c h w -> b c 1 1", "sum")
    alpha = gradients**2 / (2 * gradients**2 + total * gradients**3 + EPSILON)
    weights = reduce(alpha * gradients.relu(), "b c h w -> b c", "sum")
    return einsum(weights, maps, "b c, b c h w -> b h w").relu()
