"""Balanced accuracy."""

import numpy as np
from jaxtyping import Float, Int, Num

from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.metric import Basis, Family, Metric, Need


def balanced_accuracy(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> float:
    """Mean over classes of the sensitivity (1 is best, 1 / classes is chance); NaN when a class is absent.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Brodersen et al. 2010, doi:10.1109/ICPR.2010.764, without adjustment for chance.
    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), num_classes=2)
        0.5
    """
    return float(_mean_sensitivity(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _mean_sensitivity(confusion: Num[np.ndarray, "*batch classes classes"]) -> Float[np.ndarray, "*batch"]:
    found = np.diagonal(confusion, axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    shares = np.divide(found, support, out=np.full(support.shape, np.nan), where=support > 0)
    return np.asarray(shares.mean(axis=-1))


METRIC = Metric(
    key="balanced_accuracy",
    title="Balanced accuracy",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.CONFUSION,
    compute=_mean_sensitivity,
    needs=(Need.CLASS,),
    mean_of="sensitivity",
)
