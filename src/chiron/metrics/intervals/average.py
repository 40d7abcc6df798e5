"""Interval of a mean over classes, from the intervals of the classes.

A bootstrap of the mean is too narrow where a class has few images and nearly all are right: of such a class it has
nothing to resample. The classes' own intervals cover there, and their distances from the values add up like errors do.
"""

import math

import numpy as np
from jaxtyping import Float

from chiron.metrics.estimate import Interval
from chiron.metrics.intervals.bootstrap import undefined_note


def average_interval(
    values: Float[np.ndarray, "classes"],
    limits: Float[np.ndarray, "classes 2"],
    resampled: Float[np.ndarray, "classes resamples"],
    weights: Float[np.ndarray, "classes"],
    *,
    method: str,
) -> Interval:
    """Limits of the weighted mean of `values`; null where too many resamples lack a class.

    With distances d from the values to the lower (upper) limits and the correlations R of the classes' values over
    resamples, the limit lies sqrt((w d)' R (w d)) below (above) the mean.

    Args:
        values: the metric of each class.
        limits: lower and upper limit of each class.
        resampled: the metric of each class on each resample, NaN where the class is missing.
        weights: of the classes, summing to 1.
    Source: Zou and Donner 2008, doi:10.1002/sim.3095 (MOVER), for correlated estimates.
    """
    defined = np.isfinite(resampled).all(axis=0)
    refused, note = undefined_note(defined)
    if refused:
        return Interval(None, None, method, note)
    correlation = _correlation(resampled[:, defined])
    below, above = weights * (values - limits[:, 0]), weights * (limits[:, 1] - values)
    mean = math.fsum(weights * values)  # exact sums, so that the order of the classes changes no digit
    return Interval(mean - _length(below, correlation), mean + _length(above, correlation), method, note)


def _length(distances: np.ndarray, correlation: np.ndarray) -> float:
    return math.sqrt(max(0.0, math.fsum((np.outer(distances, distances) * correlation).ravel())))


def _correlation(resampled: Float[np.ndarray, "classes resamples"]) -> Float[np.ndarray, "classes classes"]:
    """Correlations between classes; 0 with a class whose value is the same in every resample."""
    centered = resampled - resampled.mean(axis=1, keepdims=True)
    spread = np.sqrt((centered**2).sum(axis=1, keepdims=True))
    units = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 1e-12)
    correlation = np.stack([(units * of_class).sum(axis=1) for of_class in units])
    np.fill_diagonal(correlation, 1.0)
    return correlation
