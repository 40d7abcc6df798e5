"""Score-CAM: feature maps weighted by the score that the network gives to the image seen through each of them.

Each channel, at the size of the image and scaled to 0..1, multiplies the normalized image, so that what it hides
becomes the mean color. The weights are the softmax over channels of the class scores. No gradient is taken.
Source: Wang et al. 2020, arXiv:1910.01279. The score of the blank image, which the paper takes away from each channel's
score, does not change their softmax.
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from chiron.explanation.map_layer import activations, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject

TITLE = "Score-CAM"
CLASS_SPECIFIC = True
COST = "one forward pass for every channel of the map layer"
why_not = why_no_map_layer


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the map layer."""
    maps = activations(subject, find_map_layer(subject))
    weights = _scores_through_masks(subject, maps).softmax(dim=1)
    return einsum(weights, maps, "b c, b c h w -> b h w").relu()


@torch.no_grad()
def _scores_through_masks(subject: Subject, maps: Float[Tensor, "b c _gh _gw"]) -> Float[Tensor, "b c"]:
    """The class score of each image through each of its channels; masks of several images go through together."""
    (height, width), num_channels = subject.image.shape[-2:], maps.shape[1]
    scores = []
    for pairs in torch.arange(len(subject) * num_channels, device=maps.device).split(subject.num_at_once):
        images, channels = pairs // num_channels, pairs % num_channels
        several = subject.rows(images)
        masked = several.showing(several.image * _masks(maps[images, channels], (height, width)))
        scores.append(several.score(masked.outputs()))
    return rearrange(torch.cat(scores), "(b c) -> b c", c=num_channels)


def _masks(channels: Float[Tensor, "n _gh _gw"], size: tuple[int, int]) -> Float[Tensor, "n 1 _h _w"]:
    """Channels at the size of the image, each from 0 to 1; one that is the same everywhere is a mask of zeros."""
    large = functional.interpolate(channels[:, None], size=size, mode="bilinear", align_corners=True)
    low, high = (pick(large, dim=(2, 3), keepdim=True) for pick in (torch.amin, torch.amax))
    return (large - low) / (high - low + 1e-8)
