"""Negative likelihood ratio (LR-)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def negative_likelihood_ratio(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """How many times more often each class is not named where it is than where it is not (0 is best, 1 is chance).

    (1 - sensitivity) / specificity: the odds of the class are multiplied by it when the model names another one. NaN
    for a class that is absent, alone, or named for every image of another one.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Simel, Samsa and Matchar 1991, doi:10.1016/0895-4356(91)90128-V.
    Example:
        >>> negative_likelihood_ratio(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), num_classes=2)
        array([0. , 0.5])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _missed_over_dismissed(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.fn * (counts.fp + counts.tn), counts.tn * (counts.tp + counts.fn)


METRIC = Metric(
    key="negative_likelihood_ratio",
    title="Negative likelihood ratio (LR-)",
    direction="down",
    family=Family.RATIO,
    basis=Basis.COUNTS,
    compute=_missed_over_dismissed,
    needs=(Need.CLASS, Need.REST, Need.RIGHT_DISMISSAL),
    per_class=True,
    positive_key="negative_likelihood_ratio",
    upper_bound=np.inf,
)
