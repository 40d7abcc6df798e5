"""Holm's adjustment of the p-values of one family of tests."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[list[float], list[int]]:
    """Holm's adjusted p-values, and for each test by how many its alpha is divided.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    Example:
        >>> holm([0.01, 0.04, 0.03])
        ([0.03, 0.06, 0.06], [3, 1, 2])
    """
    order = sorted(range(len(p_values)), key=lambda test: p_values[test])
    adjusted, divisors = [1.0] * len(p_values), [1] * len(p_values)
    largest = 0.0
    for step, test in enumerate(order):
        divisors[test] = len(p_values) - step
        largest = max(largest, min(1.0, divisors[test] * p_values[test]))
        adjusted[test] = largest
    return adjusted, divisors
