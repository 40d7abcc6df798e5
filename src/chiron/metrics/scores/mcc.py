"""Matthews correlation coefficient."""

import numpy as np
from jaxtyping import Int

from chiron.metrics.agreement import matthews_of
from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.metric import Basis, Family, Metric, Need


def mcc(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> float:
    """Correlation of reference and predicted classes (1 is best, 0 is chance), also of more than two.

    NaN, where scikit-learn says 0, when every image is of one class or is given to one.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006; for two classes Matthews 1975.
    Example:
        >>> round(mcc(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), num_classes=2), 4)
        0.5774
    """
    return float(matthews_of(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


METRIC = Metric(
    key="mcc",
    title="Matthews correlation coefficient",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.CONFUSION,
    compute=matthews_of,
    needs=(Need.REST, Need.PREDICTED_REST),
    lower_bound=-1.0,
)
