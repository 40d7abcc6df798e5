"""Accuracy."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.cases import Cases
from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.metric import Basis, Family, Metric


def accuracy(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> float:
    """Share of images whose predicted class is the reference class (1 is best).

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]), num_classes=3)
        0.75
    """
    confusion = confusion_matrix(y_true, y_pred, num_classes=num_classes)
    return float(np.trace(confusion) / confusion.sum())


def _is_right(cases: Cases) -> Float[np.ndarray, "n"]:
    return (cases.y_pred == cases.y_true).astype(np.float64)


METRIC = Metric(
    key="accuracy",
    title="Accuracy",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.ROWS,
    compute=_is_right,
)
