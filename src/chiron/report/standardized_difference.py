"""How far two groups lie apart in units of their own spread, which, unlike a p-value, does not grow with their size.

Source: Austin 2009, Statistics in Medicine 28:3083-3107, section 3.1: the difference of means over the square root of
the mean of both variances; a share p has the variance p(1 - p). Of a column with several values each value is a share.
"""

Spread = tuple[float, float | None]  # mean and SD


def of_means(first: Spread | None, second: Spread | None) -> float | None:
    """Second minus first in mean standard deviations; None where a mean or an SD is missing, or both SDs are 0.

    Example:
        >>> of_means((50.0, 10.0), (55.0, 10.0))
        0.5
    """
    if first is None or second is None or first[1] is None or second[1] is None:
        return None
    return _ratio(second[0] - first[0], (first[1] ** 2 + second[1] ** 2) / 2)


def of_shares(first: float, second: float) -> float | None:
    """Second minus first share in mean standard deviations; 0 for equal shares, None for 0 against 1.

    Example:
        >>> of_shares(0.5, 0.5), of_shares(0.0, 1.0)
        (0.0, None)
    """
    return _ratio(second - first, (first * (1 - first) + second * (1 - second)) / 2)


def _ratio(difference: float, variance: float) -> float | None:
    if variance <= 0:
        return 0.0 if difference == 0 else None
    return difference / variance**0.5
