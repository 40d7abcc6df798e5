"""Cohen's kappa, without weights."""

import numpy as np
from jaxtyping import Float, Int, Num

from chiron.metrics.agreement import kappa_of
from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.metric import Basis, Family, Metric, Need


def kappa(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> float:
    """Agreement with the reference beyond what both frequencies give by chance (1 is best, 0 is chance).

    NaN when every image is of one class and is given to it.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Cohen 1960, doi:10.1177/001316446002000104.
    Example:
        >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), num_classes=2)
        0.5
    """
    return float(_unweighted(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _unweighted(confusion: Num[np.ndarray, "*batch classes classes"]) -> Float[np.ndarray, "*batch"]:
    return kappa_of(confusion, "none")


METRIC = Metric(
    key="kappa",
    title="Cohen's kappa, unweighted",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.CONFUSION,
    compute=_unweighted,
    needs=(Need.REST,),
    lower_bound=-1.0,
)
