"""Specificity (true-negative rate)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def specificity(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """Share of the other classes' images that the model keeps out of each class (1 is best); NaN without such images.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> specificity(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
        array([1. , 0.5])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _kept_out(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.tn, counts.tn + counts.fp


METRIC = Metric(
    key="specificity",
    title="Specificity",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.COUNTS,
    compute=_kept_out,
    needs=(Need.REST,),
    per_class=True,
    positive_key="specificity",
    averages=(("macro", "macro_specificity"), ("weighted", "weighted_specificity")),
)
