"""Partial AUROC over the false-positive rates up to 0.1, standardized after McClish."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import BinaryLabels, check_scores
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.ranking import RankedCounts, Ranking

MAX_FPR = 0.1  # specificity of 0.9 and more
_CHANCE = MAX_FPR**2 / 2


def partial_auroc(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> float:
    """Area under the curve where specificity is at least 0.9, scaled so that 1 is best and 0.5 is chance.

    (1 + (area - chance) / (best - chance)) / 2 with a best area of 0.1 and 0.005 by chance; ties count as in the whole
    AUROC. NaN when all images are positive or all are negative.

    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    Source: McClish 1989, doi:10.1177/0272989X8900900307.
    Example:
        >>> round(partial_auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
        0.7368
    """
    return float(_standardized(Ranking(*check_scores(y_true, y_score)).plain_counts())[0])


def _standardized(ranked: RankedCounts) -> Float[np.ndarray, "resamples"]:
    pairs = ranked.num_positive.astype(np.float64) * ranked.num_negative
    area = np.divide(_area_in_pairs(ranked), pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return (1 + (area - _CHANCE) / (MAX_FPR - _CHANCE)) / 2


def _area_in_pairs(ranked: RankedCounts) -> Float[np.ndarray, "resamples"]:
    """The area to the left of the largest rate: what each positive adds from its own rate on, times all pairs."""
    limit = MAX_FPR * ranked.num_negative.astype(np.float64)
    inside = ranked.fp <= np.floor(limit).astype(ranked.fp.dtype)[:, np.newaxis]
    num_found = np.where(inside, ranked.weight, 0).sum(axis=1)
    area = limit * num_found - np.where(inside, ranked.misordered, 0).sum(axis=1)
    # A positive that shares its score with negatives lies on a slope between their first and last rate.
    tied, weight = ranked.tied, ranked.weight[:, ranked.tied_at]
    left = np.clip(limit[:, np.newaxis] - (ranked.fp[:, ranked.tied_at] - tied), 0, tied)
    return area + (weight * left**2 / np.maximum(2 * tied, 1)).sum(axis=1)


METRIC = Metric(
    key="partial_auroc",
    title="Partial AUROC (specificity at least 0.9, McClish)",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.RANKS,
    compute=_standardized,
    needs=(Need.CLASS, Need.REST),
    per_class=True,
    positive_key="partial_auroc",
    averages=(("macro", "macro_partial_auroc"),),
    averages_from_classes=3,
    lower_bound=(1 - MAX_FPR / (2 - MAX_FPR)) / 2,  # no positive before the largest rate
)
