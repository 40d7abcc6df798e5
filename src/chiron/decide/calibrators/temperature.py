"""Temperature scaling: all logits divided by one number. The order of classes stays; no mean probability is repaired.

Source: Guo et al. 2017, arXiv:1706.04599.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from chiron.decide.affine import fit_affine
from chiron.decide.probabilities import log_softmax

MIN_CASES = 20
HAS_INTERCEPT = False
FEWEST_CLASSES, MOST_CLASSES = 2, None


def fit(logits: Float[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"]) -> dict[str, tuple[float, ...]]:
    """The temperature with the least log loss."""
    slope = fit_affine(logits, y_true, each_slope=False, with_intercepts=False).slopes[0]
    return {"temperature": (float(1 / slope),)}


def apply(
    logits: Float[np.ndarray, "n classes"], parameters: Mapping[str, tuple[float, ...]]
) -> Float[np.ndarray, "n classes"]:
    """Log-probabilities."""
    return log_softmax(logits / parameters["temperature"][0])
