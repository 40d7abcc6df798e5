"""Sensitivity (recall, true-positive rate)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def sensitivity(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """Share of each class's images that the model gives to the class (1 is best); NaN for an absent class.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> sensitivity(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=3)
        array([0.5, 1. , nan])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _found(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.tp, counts.tp + counts.fn


METRIC = Metric(
    key="sensitivity",
    title="Sensitivity (recall)",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.COUNTS,
    compute=_found,
    needs=(Need.CLASS,),
    per_class=True,
    positive_key="sensitivity",
    averages=(("macro", "macro_sensitivity"), ("weighted", "weighted_sensitivity"), ("micro", "micro_sensitivity")),
    same_as=(
        ("macro_sensitivity", "balanced_accuracy"),
        ("weighted_sensitivity", "accuracy"),
        ("micro_sensitivity", "accuracy"),
    ),
)
