"""Top-5 accuracy, from 10 classes on."""

import functools

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.metric import Basis, Family, Metric
from chiron.metrics.top_k import is_among_top, top_k_of_cases


def top_5_accuracy(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]) -> float:
    """Share of images whose reference class is among the 5 most probable ones (1 is best).

    Of equally probable classes the first ones are taken. Reported from 10 classes on: of fewer it says little.

    Example:
        >>> top_5_accuracy(np.array([0, 5]), np.eye(6)[[0, 0]])
        0.5
    """
    return float(is_among_top(y_true, y_prob, 5).mean())


METRIC = Metric(
    key="top_5_accuracy",
    title="Top-5 accuracy",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.ROWS,
    compute=functools.partial(top_k_of_cases, k=5),
    from_classes=10,
)
