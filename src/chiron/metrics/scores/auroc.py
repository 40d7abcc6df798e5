"""Area under the receiver operating characteristic curve."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import BinaryLabels, check_scores
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.ranking import RankedCounts, Ranking


def auroc(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> float:
    """Chance that a positive image scores above a negative one, ties counted half (1 is best, 0.5 is chance).

    Args:
        y_true: 1 for an image of the class, 0 for any other.
        y_score: the class's score; only its order matters.
    Returns:
        NaN when all images are positive or all are negative.
    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    Example:
        >>> auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    return float(_pairs_in_order(Ranking(*check_scores(y_true, y_score)).plain_counts())[0])


def _pairs_in_order(ranked: RankedCounts) -> Float[np.ndarray, "resamples"]:
    lost = ranked.misordered.sum(axis=1) - ranked.tied_pairs.sum(axis=1) / 2
    pairs = ranked.num_positive.astype(np.float64) * ranked.num_negative
    return 1 - np.divide(lost, pairs, out=np.full(lost.shape, np.nan), where=pairs > 0)


METRIC = Metric(
    key="auroc",
    title="AUROC",
    direction="up",
    family=Family.AUROC,
    basis=Basis.RANKS,
    compute=_pairs_in_order,
    needs=(Need.CLASS, Need.REST),
    per_class=True,
    positive_key="auroc",
    averages=(("macro", "macro_auroc"), ("weighted", "weighted_auroc")),
    averages_from_classes=3,
)
