"""Vector scaling: a slope and an intercept for every class.

Slopes are above zero. Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from chiron.decide.affine import fit_affine
from chiron.decide.probabilities import log_softmax

MIN_CASES = 200
HAS_INTERCEPT = True
FEWEST_CLASSES, MOST_CLASSES = 3, None  # of two classes it is platt, but for what both logits share


def fit(logits: Float[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"]) -> dict[str, tuple[float, ...]]:
    """Slopes and intercepts with the least log loss."""
    found = fit_affine(logits, y_true, each_slope=True, with_intercepts=True)
    return {"slope": tuple(found.slopes.tolist()), "intercept": tuple(found.intercepts.tolist())}


def apply(
    logits: Float[np.ndarray, "n classes"], parameters: Mapping[str, tuple[float, ...]]
) -> Float[np.ndarray, "n classes"]:
    """Log-probabilities."""
    centered = logits - logits.mean(axis=1, keepdims=True)  # what all logits of a row share says nothing
    return log_softmax(centered * np.array(parameters["slope"]) + np.array(parameters["intercept"]))
