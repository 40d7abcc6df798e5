"""Bias-corrected temperature scaling: one slope for all classes and an intercept for each.

The intercepts repair what class weights or a balanced sampler did to the shares of classes.
Source: Alexandari, Kundaje and Shrikumar 2020, arXiv:1901.06852.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from chiron.decide.affine import fit_affine
from chiron.decide.probabilities import log_softmax

MIN_CASES = 50
HAS_INTERCEPT = True
FEWEST_CLASSES, MOST_CLASSES = 3, None  # of two classes it is platt


def fit(logits: Float[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"]) -> dict[str, tuple[float, ...]]:
    """The temperature and the intercepts with the least log loss."""
    found = fit_affine(logits, y_true, each_slope=False, with_intercepts=True)
    return {"temperature": (float(1 / found.slopes[0]),), "intercept": tuple(found.intercepts.tolist())}


def apply(
    logits: Float[np.ndarray, "n classes"], parameters: Mapping[str, tuple[float, ...]]
) -> Float[np.ndarray, "n classes"]:
    """Log-probabilities."""
    return log_softmax(logits / parameters["temperature"][0] + np.array(parameters["intercept"]))
