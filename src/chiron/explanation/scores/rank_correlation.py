"""Spearman's rank correlation of two maps of the same image."""

import torch
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.scores.perturbation import enlarged

__all__ = ["rank_correlation"]


def rank_correlation(first: Float[Tensor, "b gh gw"], second: Float[Tensor, "b _gh _gw"]) -> Float[Tensor, "b"]:
    """From -1 to 1 for each image, over the places of the first map's grid; ties share their mean rank.

    A second map on another grid is brought to the first one's. A map that is the same everywhere resembles none: 0.
    """
    ranks = [
        _centered_ranks(it.detach().cpu().double().flatten(1)) for it in (first, enlarged(second, first.shape[1:]))
    ]
    products = (ranks[0] * ranks[1]).sum(1)
    lengths = (ranks[0].square().sum(1) * ranks[1].square().sum(1)).sqrt()
    return torch.where(lengths > 0, products / lengths, 0.0).to(first)


def _centered_ranks(values: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return (below + up_to - values.shape[1]) / 2  # the ranks' mean is 0 by this
