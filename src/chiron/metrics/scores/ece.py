"""Expected calibration error of the predicted class."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.calibration import calibration_bins, expected_calibration_error
from chiron.metrics.cases import Cases
from chiron.metrics.metric import Basis, Family, Metric


def ece(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]) -> float:
    """Mean gap between the confidence and the accuracy of the predicted class over 10 equal-width bins (0 is best).

    The plug-in value: a perfectly calibrated model scores above 0, more so with few images.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    Example:
        >>> ece(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
        0.0
    """
    confidence = y_prob.max(axis=1)
    return expected_calibration_error(calibration_bins(confidence, y_prob.argmax(axis=1) == y_true))


def _of_cases(cases: Cases) -> float:
    return ece(cases.y_true, cases.y_prob)


METRIC = Metric(
    key="ece",
    title="Expected calibration error",
    direction="down",
    family=Family.CALIBRATION,
    basis=Basis.BINS,
    compute=_of_cases,
)
