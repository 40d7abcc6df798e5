"""Whether the reference class is among the most probable ones."""

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.metrics.cases import Cases


def is_among_top(y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"], k: int) -> Bool[np.ndarray, "n"]:
    """True where fewer than k classes are more probable than the reference class; of equal ones the first is taken."""
    given = np.take_along_axis(y_prob, y_true[:, np.newaxis], axis=1)
    earlier = np.arange(y_prob.shape[1]) < y_true[:, np.newaxis]
    return ((y_prob > given) | ((y_prob == given) & earlier)).sum(axis=1) < k


def top_k_of_cases(cases: Cases, *, k: int) -> Float[np.ndarray, "n"]:
    """1 for each image whose reference class is among the k most probable ones, else 0."""
    return is_among_top(cases.y_true, cases.y_prob, k).astype(np.float64)
