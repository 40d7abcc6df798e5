"""ROAD: what the probability loses without the most important places, against the least important ones.

Source: Rong et al. 2022, arXiv:2202.00449. Removed places are imputed from those around them, so that the network sees
neither holes nor their outline. Half the difference of both orders, as in pytorch-grad-cam's `ROADCombined`: for a
random map the orders are alike and its expectation is 0, so that no control is needed.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.scores.draws import drawn
from chiron.explanation.scores.imputation import linearly_imputed
from chiron.explanation.scores.perturbation import removal_rank, variant_probabilities
from chiron.explanation.subject import Subject

__all__ = ["REMOVED_PERCENT", "road"]

REMOVED_PERCENT = (10, 30, 50, 70, 90)
NOISE = 0.01  # of the authors' code: standard deviation on imputed places, in units of the normalized image


def road(subject: Subject, maps: Float[Tensor, "b _gh _gw"], *, seed: int = 0) -> Float[Tensor, "b"]:
    """(probability without the least important places - without the most important ones) / 2; mean over shares."""
    height, width = subject.image.shape[-2:]
    rank = removal_rank(maps[:, None], drawn(subject.image, (height, width), "ties", seed))[:, 0]
    noise = NOISE * drawn(subject.image, tuple(subject.image.shape[1:]), "road", seed)
    last, shares = height * width - 1, torch.tensor(REMOVED_PERCENT, device=rank.device)
    counts = last + 1 - ((100 - shares) * last + 99) // 100  # where numpy's percentile cuts, rounded up

    def variants(rows: Tensor, numbers: Tensor) -> Tensor:
        least_first, count = numbers % 2 == 1, counts[numbers // 2, None, None]
        removed = torch.where(least_first[:, None, None], last - rank[rows], rank[rows]) < count
        return linearly_imputed(subject.image[rows], removed) + noise[rows] * removed[:, None]

    probs = variant_probabilities(subject, 2 * len(REMOVED_PERCENT), variants)
    return (probs[:, 1::2] - probs[:, 0::2]).mean(dim=1) / 2
