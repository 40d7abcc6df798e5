"""Isotonic regression: any rising curve from output to probability, for many cases.

Two classes: a curve of the difference of their logits. More: a curve a class against the rest, and rows brought to sum
to one. Probabilities stay within 1 / (n + 2) of 0 and 1, so that no case becomes impossible. Source: Zadrozny and Elkan
2002, doi:10.1145/775047.775151.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize

MIN_CASES = 1000
HAS_INTERCEPT = True
FEWEST_CLASSES, MOST_CLASSES = 2, None


def fit(logits: Float[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"]) -> dict[str, tuple[float, ...]]:
    """The corners of every curve: log-odds `x_<k>` and probability `y_<k>` of class number k.

    Of two classes the second alone has a curve.
    """
    parameters: dict[str, tuple[float, ...]] = {}
    for k in _curves(logits.shape[1]):
        x, y = _rising_curve(_log_odds(logits, k), y_true == k)
        parameters |= {f"x_{k}": tuple(x.tolist()), f"y_{k}": tuple(y.tolist())}
    return parameters


def apply(
    logits: Float[np.ndarray, "n classes"], parameters: Mapping[str, tuple[float, ...]]
) -> Float[np.ndarray, "n classes"]:
    """Log-probabilities; straight lines between corners, and the ends of a curve beyond them."""
    by_class = {
        k: np.interp(_log_odds(logits, k), parameters[f"x_{k}"], parameters[f"y_{k}"]) for k in _curves(logits.shape[1])
    }
    if logits.shape[1] == 2:
        by_class[0] = 1 - by_class[1]
    probs = np.stack([by_class[k] for k in range(logits.shape[1])], axis=1)
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def _curves(num_classes: int) -> range:
    return range(1, 2) if num_classes == 2 else range(num_classes)


def _log_odds(logits: Float[np.ndarray, "n classes"], k: int) -> Float[np.ndarray, "n"]:
    """Logit of the probability of class `k`: of two classes the difference of their logits."""
    others = np.delete(logits, k, axis=1)
    largest = others.max(axis=1)
    return logits[:, k] - largest - np.log(np.exp(others - largest[:, np.newaxis]).sum(axis=1))


def _rising_curve(x: Float[np.ndarray, "n"], of_class: Bool[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of every level of the curve that rises and is nearest to the labels."""
    places, index, cases = np.unique(x, return_inverse=True, return_counts=True)
    share = np.bincount(index, weights=of_class) / cases
    fitted = optimize.isotonic_regression(share, weights=cases).x
    edge = 1 / (len(x) + 2)
    level = np.clip(fitted, edge, 1 - edge)
    corner = np.ones(len(level), dtype=bool)
    corner[1:-1] = (level[1:-1] != level[:-2]) | (level[1:-1] != level[2:])
    return places[corner], level[corner]
