"""Log loss (cross-entropy)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.cases import Cases
from chiron.metrics.metric import Basis, Family, Metric

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # a certain and wrong output costs 36 nats, not infinity


def log_loss(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]) -> float:
    """Mean negative natural logarithm of the reference class's probability (0 is best, unit: nats).

    Probabilities are clipped to [2.2e-16, 1 - 2.2e-16].

    Example:
        >>> round(log_loss(np.array([0, 1]), np.array([[0.9, 0.1], [0.5, 0.5]])), 4)
        0.3993
    """
    return float(_losses_of(y_true, y_prob).mean())


def _losses_of(y_true: np.ndarray, y_prob: np.ndarray) -> Float[np.ndarray, "n"]:
    given = np.take_along_axis(np.asarray(y_prob, dtype=np.float64), y_true[:, np.newaxis], axis=1)[:, 0]
    return -np.log(np.clip(given, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def _losses(cases: Cases) -> Float[np.ndarray, "n"]:
    return _losses_of(cases.y_true, cases.y_prob)


METRIC = Metric(
    key="log_loss",
    title="Log loss",
    direction="down",
    family=Family.RESAMPLED,
    basis=Basis.ROWS,
    compute=_losses,
    upper_bound=np.inf,
)
