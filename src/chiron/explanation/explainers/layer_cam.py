"""LayerCAM: each place's features weighted by its own positive gradients, positive part.

Source: Jiang et al. 2021, "LayerCAM: Exploring hierarchical class activation maps for localization", IEEE Transactions
on Image Processing 30; read at the map layer alone.
"""

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations_and_gradients, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "LayerCAM"
CLASS_SPECIFIC = True
COST = "one forward and one backward pass"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps, gradients = activations_and_gradients(subject, find_map_layer(subject))
    return reduce(maps * gradients.relu(), "b c h w -> b h w", "sum").relu()
