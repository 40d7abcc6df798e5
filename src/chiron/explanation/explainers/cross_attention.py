"""Cross-attention: how the query of HybridLungViT weighs the tokens of both sides, drawn back where they came from.

A token is the mean over a bin of its side, which ends where the image's own mask parts the image; its weight is spread
evenly over that bin. All weights sum to 1, so that a side's sum is the share of the query that read it.
Source: the pooling of `layers/side_pooling.py`, backwards; the mean over the heads.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.subject import Subject
from chiron.layers.side_pooling import pool_between
from chiron.models.families.hybrid_lung_vit import PATCH, UPSCALE, HybridLungViT

TITLE = "Cross-attention, left and right"
CLASS_SPECIFIC = False
COST = "one forward pass"


def why_not(subject: Subject) -> str | None:
    """The reason where the network is not of the family whose query reads both sides."""
    if isinstance(subject.network, HybridLungViT):
        return None
    return "no query of it reads the sides of the image. It is for the family hybrid_lung_vit; choose grad_cam."


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the features that are parted."""
    network = subject.network
    assert isinstance(network, HybridLungViT)
    image, mask = subject.inputs
    with torch.no_grad():
        weights = reduce(network.forward_named(image, mask).attn[-1], "b heads 1 n -> b n", "mean")
    return spread_over_sides(network, weights, mask)


def spread_over_sides(
    network: HybridLungViT, weights: Float[Tensor, "b n"], mask: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b _gh _gw"]:
    """Weights of the tokens over the places that each was pooled from: the pooling's own transpose."""
    rows, columns = (side // PATCH * UPSCALE for side in mask.shape[-2:])
    maps = weights.new_zeros(len(weights), 1, rows, columns).requires_grad_()
    with torch.enable_grad():
        groups = list(network.side_tokens(maps, mask))
        if network.fuse_global:
            start = weights.new_zeros(len(weights))
            groups.append(pool_between(maps, start, start + 1, network.token_grid))
        tokens = rearrange(torch.cat(groups, dim=1), "b n 1 -> b n")
    return torch.autograd.grad(tokens, maps, weights)[0].squeeze(1)
