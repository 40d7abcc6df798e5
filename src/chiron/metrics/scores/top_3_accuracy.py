"""Top-3 accuracy, from 5 classes on."""

import functools

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.metric import Basis, Family, Metric
from chiron.metrics.top_k import is_among_top, top_k_of_cases


def top_3_accuracy(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]) -> float:
    """Share of images whose reference class is among the 3 most probable ones (1 is best).

    Of equally probable classes the first ones are taken. Reported from 5 classes on: of fewer it says little.

    Example:
        >>> top_3_accuracy(np.array([0, 3]), np.eye(4)[[0, 0]])
        0.5
    """
    return float(is_among_top(y_true, y_prob, 3).mean())


METRIC = Metric(
    key="top_3_accuracy",
    title="Top-3 accuracy",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.ROWS,
    compute=functools.partial(top_k_of_cases, k=3),
    from_classes=5,
)
