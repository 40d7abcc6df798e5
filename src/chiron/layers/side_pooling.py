"""Means of a feature map on both sides of a cut that every image has elsewhere; a graph without loops, for export.

Shapes: B batch, D channels, H W places of the map.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

__all__ = ["cut_of_mask", "pool_between"]

CUT = (0.25, 0.75)  # of the width: a cut further out is a failed mask


def cut_of_mask(mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b"]:
    """Where each image is parted: mean x of its mask, share of the width in [0.25, 0.75]; empty: the middle.

    The rule of `preprocess.lung_mask.cut_of`. At least fp32: bf16 would move the cut by pixels.
    """
    columns = mask.to(torch.promote_types(mask.dtype, torch.float32)).sum(dim=(1, 2))
    middles = (torch.arange(columns.shape[1], device=mask.device, dtype=columns.dtype) + 0.5) / columns.shape[1]
    area = columns.sum(dim=1)
    mean = (columns * middles).sum(dim=1) / area.clamp(min=torch.finfo(area.dtype).tiny)
    return torch.where(area > 0, mean.clamp(*CUT), 0.5)


def pool_between(
    maps: Float[Tensor, "b d h w"], start: Float[Tensor, "b"], end: Float[Tensor, "b"], grid: int
) -> Float[Tensor, "b tokens d"]:
    """Means over a grid x grid of equal bins between two columns of each image, tokens along the rows.

    Adaptive average pooling of a crop that may begin and end within a pixel: a pixel counts by the share of it that
    lies in the bin.

    Args:
        start: left edge, share of the width; `end` likewise.
    """
    zero, one = torch.zeros_like(start), torch.ones_like(start)
    rows = _bin_weights(zero, one, grid, maps.shape[2]).to(maps.dtype)
    columns = _bin_weights(start, end, grid, maps.shape[3]).to(maps.dtype)
    return rearrange(torch.einsum("bdhw,brh,bcw->brcd", maps, rows, columns), "b r c d -> b (r c) d")


def _bin_weights(start: Float[Tensor, "b"], end: Float[Tensor, "b"], grid: int, length: int) -> Float[Tensor, "b g n"]:
    """How much each of `length` pixels counts in each bin between two shares of the side; rows sum to 1."""
    steps = torch.arange(grid + 1, device=start.device, dtype=start.dtype) / grid
    edges = length * (start[:, None] + (end - start)[:, None] * steps)  # b g+1
    pixels = torch.arange(length, device=start.device, dtype=start.dtype)
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    overlap = (torch.minimum(high, pixels + 1) - torch.maximum(low, pixels)).clamp(min=0)
    return overlap / (high - low)
