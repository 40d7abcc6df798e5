"""What an uncertain label counts as: the one place that makes training targets and references for scoring alike."""

import numpy as np
from jaxtyping import Float

from chiron.data.manifest_columns import UNCERTAIN
from chiron.spec.labels import UncertainPolicy

_COUNTS_AS: dict[UncertainPolicy, float] = {"ignore": float("nan"), "zeros": 0.0, "ones": 1.0}


def assessed(labels: Float[np.ndarray, "n classes"], uncertain: UncertainPolicy) -> Float[np.ndarray, "n classes"]:
    """1, 0, and NaN where a class was not assessed or, with `ignore`, is uncertain.

    Args:
        labels: 1, 0, -1 (uncertain) and NaN (not assessed).
    Example:
        >>> assessed(np.array([[1.0, -1.0, np.nan]]), "zeros")
        array([[ 1.,  0., nan]])
    """
    return np.where(labels == UNCERTAIN, _COUNTS_AS[uncertain], labels)
