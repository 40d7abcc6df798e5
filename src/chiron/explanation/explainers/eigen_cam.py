"""Eigen-CAM: the first principal component of the features over places, positive part. It knows of no class.

A component has no sign of its own. Here the place that is farthest from the mean place is positive.
Source: Muhammad and Yeasin 2020, arXiv:2008.00299; the features are centered over places, as in pytorch-grad-cam. The
sign: Chung and Ying 2025, "Seg-Eigen-CAM", Applied Sciences 15(13), eq. 13.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.map_layer import activations, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "Eigen-CAM"
CLASS_SPECIFIC = False
COST = "one forward pass and a small decomposition"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps = activations(subject, find_map_layer(subject))
    places = rearrange(maps, "b c h w -> b (h w) c").double()  # in fp32 close components would mix
    left, strength, _ = torch.linalg.svd(places - places.mean(dim=1, keepdim=True), full_matrices=False)
    first = left[:, :, 0] * strength[:, :1]
    sign = torch.where(first.amax(dim=1) >= -first.amin(dim=1), 1.0, -1.0)
    return rearrange(first * sign[:, None], "b (h w) -> b h w", h=maps.shape[2]).relu().to(maps.dtype)
