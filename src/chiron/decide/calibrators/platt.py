"""Platt scaling of two classes: slope and intercept of the difference of their logits.

Several labels have a pair each. The targets are the labels themselves; what Platt's smoothed targets are for, the ridge
of the fit does. Source: Platt 1999, Probabilistic outputs for support vector machines.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from chiron.decide.affine import fit_affine
from chiron.decide.probabilities import log_softmax

MIN_CASES = 50
HAS_INTERCEPT = True
FEWEST_CLASSES, MOST_CLASSES = 2, 2


def fit(logits: Float[np.ndarray, "n two"], y_true: Int[np.ndarray, "n"]) -> dict[str, tuple[float, ...]]:
    """Slope and intercept of the second class against the first with the least log loss."""
    found = fit_affine(logits, y_true, each_slope=False, with_intercepts=True)
    return {"slope": (float(found.slopes[0]),), "intercept": (float(found.intercepts[1] - found.intercepts[0]),)}


def apply(
    logits: Float[np.ndarray, "n two"], parameters: Mapping[str, tuple[float, ...]]
) -> Float[np.ndarray, "n two"]:
    """Log-probabilities."""
    margin = parameters["slope"][0] * (logits[:, 1] - logits[:, 0]) + parameters["intercept"][0]
    return log_softmax(np.stack([np.zeros_like(margin), margin], axis=1))
