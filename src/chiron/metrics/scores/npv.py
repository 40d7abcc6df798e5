"""Negative predictive value."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def npv(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """Share of the images kept out of each class that are of another one (1 is best), at the prevalence of these data.

    NaN when there is no image of another class or when every image is given to the class.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> npv(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
        array([0.5, 1. ])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _right_dismissals(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.tn, counts.tn + counts.fn


METRIC = Metric(
    key="npv",
    title="Negative predictive value",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.COUNTS,
    compute=_right_dismissals,
    needs=(Need.REST, Need.PREDICTED_REST),
    per_class=True,
    positive_key="npv",
    averages=(("macro", "macro_npv"), ("weighted", "weighted_npv")),
)
