"""Brier score."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.cases import Cases
from chiron.metrics.metric import Basis, Family, Metric


def brier(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]) -> float:
    """Mean over images of the squared differences, summed over classes, between probability and outcome (0 is best).

    The worst value is 2. For two classes `evaluate` reports the usual score of the positive class's probability alone,
    which is half of this one.

    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    Example:
        >>> brier(np.array([0, 2]), np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]]))
        0.25
    """
    return float(_squared_differences(y_true, y_prob).mean())


def _squared_differences(y_true: np.ndarray, y_prob: np.ndarray) -> Float[np.ndarray, "n"]:
    outcome = np.eye(y_prob.shape[1])[y_true]
    return ((y_prob - outcome) ** 2).sum(axis=1)


def _losses(cases: Cases) -> Float[np.ndarray, "n"]:
    if cases.positive_index is None:
        return _squared_differences(cases.y_true, cases.y_prob)
    return (cases.y_prob[:, cases.positive_index] - (cases.y_true == cases.positive_index)) ** 2


METRIC = Metric(
    key="brier",
    title="Brier score",
    direction="down",
    family=Family.RESAMPLED,
    basis=Basis.ROWS,
    compute=_losses,
    upper_bound=np.inf,
)
