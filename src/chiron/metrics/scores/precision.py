"""Precision (positive predictive value)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def precision(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """Share of the images given to each class that are of the class (1 is best), at the prevalence of these data.

    NaN for a class that is absent or never predicted.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> precision(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
        array([1. , 0.5])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _right_alarms(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.tp, counts.tp + counts.fp


METRIC = Metric(
    key="precision",
    title="Precision (positive predictive value)",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.COUNTS,
    compute=_right_alarms,
    needs=(Need.CLASS, Need.PREDICTED),
    per_class=True,
    positive_key="ppv",
    averages=(("macro", "macro_precision"), ("weighted", "weighted_precision"), ("micro", "micro_precision")),
    same_as=(("micro_precision", "accuracy"),),
)
