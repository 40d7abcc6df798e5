"""Holm's adjustment of the p-values of one family of tests."""

from collections.abc import Sequence

import numpy as np

from chiron.core.errors import MetricError


def holm(p_values: Sequence[float]) -> tuple[list[float], list[int]]:
    """Adjusted p-values, and for each test by how many its alpha is divided.

    NaN stays NaN and counts: a test that is not there could have been made, so the others do not gain from it.

    Raises:
        MetricError: a p-value lies outside 0..1.
    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    Example:
        >>> holm([0.01, 0.04, 0.03])
        ([0.03, 0.06, 0.06], [3, 1, 2])
    """
    given = np.asarray(p_values, dtype=np.float64)
    if ((given < 0) | (given > 1)).any():
        raise MetricError(f"p-values must lie in 0..1. Got {list(p_values)}. Give those of the tests themselves.")
    order = np.argsort(np.where(np.isnan(given), np.inf, given), kind="stable")
    divisors = np.empty(len(given), dtype=np.int64)
    divisors[order] = len(given) - np.arange(len(given))
    steps = (divisors * given)[order]
    adjusted = np.full(len(given), np.nan)
    known = ~np.isnan(steps)
    adjusted[order[known]] = np.minimum(1.0, np.maximum.accumulate(steps[known]))
    return adjusted.tolist(), divisors.tolist()
