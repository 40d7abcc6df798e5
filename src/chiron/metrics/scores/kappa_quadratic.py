"""Cohen's kappa with quadratic weights, for classes in order."""

import numpy as np
from jaxtyping import Float, Int, Num

from chiron.metrics.agreement import kappa_of
from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.metric import Basis, Family, Metric, Need


def kappa_quadratic(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> float:
    """Agreement beyond chance where a confusion costs the square of the distance (1 is best, 0 is chance).

    NaN when every image is of one class and is given to it.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Cohen 1968, doi:10.1037/h0026256.
    Example:
        >>> round(kappa_quadratic(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]), num_classes=3), 4)
        0.8
    """
    return float(_weighted(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _weighted(confusion: Num[np.ndarray, "*batch classes classes"]) -> Float[np.ndarray, "*batch"]:
    return kappa_of(confusion, "quadratic")


METRIC = Metric(
    key="kappa_quadratic",
    title="Cohen's kappa, quadratic weights",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.CONFUSION,
    compute=_weighted,
    needs=(Need.REST,),
    lower_bound=-1.0,
    from_classes=3,
    ordinal=True,
)
