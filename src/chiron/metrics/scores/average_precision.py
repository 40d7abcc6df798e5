"""Average precision, the area under the precision-recall steps."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import BinaryLabels, check_scores
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.ranking import RankedCounts, Ranking


def average_precision(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> float:
    """Mean over the positive images of the precision at their score (1 is best, the prevalence is chance).

    Args:
        y_true: 1 for an image of the class, 0 for any other.
        y_score: the class's score; only its order matters.
    Returns:
        NaN when all images are positive or all are negative.
    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    Source: sum over thresholds of (R_k - R_{k-1}) P_k, without interpolation.
    Example:
        >>> round(average_precision(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
        0.8333
    """
    return float(_mean_precision(Ranking(*check_scores(y_true, y_score)).plain_counts())[0])


def _mean_precision(ranked: RankedCounts) -> Float[np.ndarray, "resamples"]:
    # A threshold of weight 0 adds nothing, and may stand above every other image: 0 / 0.
    precision = ranked.tp / np.maximum(ranked.tp + ranked.fp, 1)
    precision *= ranked.weight
    total = precision.sum(axis=1)
    return np.divide(total, ranked.num_positive, out=np.full(total.shape, np.nan), where=ranked.has_both)


METRIC = Metric(
    key="average_precision",
    title="Average precision",
    direction="up",
    family=Family.PRECISION_MEAN,
    basis=Basis.RANKS,
    compute=_mean_precision,
    needs=(Need.CLASS, Need.REST),
    per_class=True,
    positive_key="average_precision",
    averages=(("macro", "macro_average_precision"), ("weighted", "weighted_average_precision")),
    averages_from_classes=3,
)
