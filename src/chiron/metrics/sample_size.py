"""How many cases a study needs, and what a given number of cases can show: shares and AUROC, alone or paired.

All numbers are of independent cases; `in_groups` turns them into groups of several images. Formulas are for large
numbers: below about ten cases of a class they are a guess.
"""

from collections.abc import Callable
from math import ceil, inf, sqrt

from scipy import optimize, special

from chiron.core.errors import MetricError
from chiron.metrics.intervals.auroc import score_interval
from chiron.metrics.intervals.proportion import wilson

MOST_CASES = 10_000_000


def design_effect(images_per_group: float, correlation: float) -> float:
    """How many times as many images groups take as independent images would.

    Args:
        images_per_group: mean over the groups.
        correlation: of two images of a group, 0 to 1; at 1 a group counts as one image however many it has.
    Source: Kish 1965, Survey Sampling, section 5.4.
    Example:
        >>> design_effect(3, 0.5)
        2.0
    """
    return 1 + (images_per_group - 1) * correlation


def in_groups(cases: float, images_per_group: float, correlation: float) -> int:
    """Groups that hold as much as so many independent cases.

    Example:
        >>> in_groups(100, 2.0, 1.0), in_groups(100, 2.0, 0.0)
        (100, 50)
    """
    return ceil(cases * design_effect(images_per_group, correlation) / images_per_group - 1e-9)


def share_half_width(share: float, cases: float, *, confidence: float = 0.95) -> float:
    """Half the width of the Wilson interval of a share.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    low, high = wilson(share * cases, cases, quantile=_quantile(confidence))
    return (high - low) / 2


def cases_for_share(share: float, half_width: float, *, confidence: float = 0.95) -> int:
    """The fewest independent cases whose Wilson interval of a share is that narrow; for a sensitivity, positives.

    Raises:
        MetricError: a number lies outside its range, or no number of cases is enough.
    Example:
        >>> cases_for_share(0.9, 0.05)
        141
    """
    _require_share(share, "expected share")
    return _fewest(lambda cases: share_half_width(share, cases, confidence=confidence) <= half_width)


def hanley_mcneil_variance(auroc: float, num_positive: float, num_negative: float) -> float:
    """Variance of the AUROC of scores that are exponential in both classes, close to that of normal ones.

    Source: Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    Example:
        >>> round(hanley_mcneil_variance(0.893, 51, 58) ** 0.5, 3)
        0.033
    """
    above, twice = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    inner = auroc * (1 - auroc) + (num_positive - 1) * (above - auroc**2) + (num_negative - 1) * (twice - auroc**2)
    return inner / (num_positive * num_negative)


def auroc_half_width(auroc: float, num_positive: float, num_negative: float, *, confidence: float = 0.95) -> float:
    """Half the width of the Hanley-McNeil score interval of an AUROC.

    Source: Newcombe 2006, doi:10.1002/sim.2324, method 5.
    """
    low, high = score_interval(auroc, num_positive, num_negative, confidence=confidence)
    return (high - low) / 2


def cases_for_auroc(auroc: float, half_width: float, prevalence: float, *, confidence: float = 0.95) -> int:
    """The fewest independent cases, of both classes together, whose interval of an AUROC is that narrow.

    Raises:
        MetricError: a number lies outside its range, or no number of cases is enough.
    """
    _require_share(auroc, "expected AUROC")
    _require_share(prevalence, "prevalence")

    def enough(cases: float) -> bool:
        sides = cases * prevalence, cases * (1 - prevalence)
        return min(sides) >= 1 and auroc_half_width(auroc, *sides, confidence=confidence) <= half_width

    return _fewest(enough)


def pairs_for_shares(difference: float, discordant: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Cases that both models judge, for McNemar's two-sided test to find a difference of two shares.

    Args:
        difference: of the two models' shares, for example of their accuracies.
        discordant: share of cases that one model has right and the other wrong.
    Raises:
        MetricError: the models cannot differ by more than they disagree.
    Source: Connor 1987, doi:10.2307/2531961, p. 209.
    Example:
        >>> pairs_for_shares(0.40, 0.50), pairs_for_shares(0.15, 0.45)
        (23, 155)
    """
    _require_discordant(difference, discordant)
    sides = _quantile(1 - alpha) * sqrt(discordant) + special.ndtri(power) * sqrt(discordant - difference**2)
    return ceil((sides / difference) ** 2)


def pairs_not_inferior(
    margin: float, discordant: float, *, difference: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Cases that both models judge, to show that a share falls by less than the margin (one-sided at alpha / 2).

    Args:
        margin: the largest loss that is accepted, above 0.
        difference: the true one that is expected, new minus old.
    Raises:
        MetricError: the expected difference lies beyond the margin.
    Source: Liu et al. 2002, doi:10.1002/sim.1012, Wald's test.
    """
    _require_margin(margin, difference)
    if difference:
        _require_discordant(difference, discordant)
    needed = _quantile(1 - alpha) + special.ndtri(power)
    return ceil(needed**2 * (discordant - difference**2) / (margin + difference) ** 2)


def paired_auroc_error(
    first: float, second: float, num_positive: float, num_negative: float, *, correlation: float
) -> float:
    """Standard error of the difference of two AUROCs on the same cases.

    Args:
        correlation: of the two AUROCs as estimates; about 0.3 to 0.7 for models of the same images.
    Source: Hanley and McNeil 1983, doi:10.1148/radiology.148.3.6878708.
    """
    variances = [hanley_mcneil_variance(value, num_positive, num_negative) for value in (first, second)]
    return sqrt(max(0.0, sum(variances) - 2 * correlation * sqrt(variances[0] * variances[1])))


def cases_for_aurocs(
    first: float,
    second: float,
    prevalence: float,
    *,
    correlation: float = 0.5,
    margin: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Independent cases for a paired test to find a difference of two AUROCs, or that it is above minus the margin.

    Args:
        margin: 0 asks for a difference, two-sided at alpha; above 0 for non-inferiority of the second, one-sided at
            alpha / 2.
    Raises:
        MetricError: a number lies outside its range, there is no difference to find, or it lies beyond the margin.
    Source: Hanley and McNeil 1983, doi:10.1148/radiology.148.3.6878708; Obuchowski and McClish 1997.
    """
    for value, what in ((first, "expected AUROC"), (second, "expected AUROC"), (prevalence, "prevalence")):
        _require_share(value, what)
    if margin:
        _require_margin(margin, second - first)
    elif first == second:
        raise MetricError("A difference to find must not be 0. Got the same AUROC twice. Give --difference.")
    distance = second - first + margin if margin else abs(second - first)
    needed = _quantile(1 - alpha) + special.ndtri(power)

    def enough(cases: float) -> bool:
        sides = cases * prevalence, cases * (1 - prevalence)
        if min(sides) < 1:
            return False
        return bool(distance >= needed * paired_auroc_error(first, second, *sides, correlation=correlation))

    return _fewest(enough)


def detectable_share(cases: float, discordant: float, *, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest difference of two shares that McNemar's test finds; None where even the largest is too small.

    Source: Connor 1987, doi:10.2307/2531961, solved for the difference.
    """
    outer, inner = _quantile(1 - alpha), special.ndtri(power)

    def excess(difference: float) -> float:
        spread = outer * sqrt(discordant) + inner * sqrt(max(0.0, discordant - difference**2))
        return difference * sqrt(cases) - spread

    return None if excess(discordant) < 0 else float(optimize.brentq(excess, 0.0, discordant, xtol=1e-12))


def detectable_auroc(
    auroc: float,
    num_positive: float,
    num_negative: float,
    *,
    correlation: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float | None:
    """How much better than `auroc` another model must be to be found on these cases; None where 1 is not enough."""
    needed = _quantile(1 - alpha) + special.ndtri(power)

    def excess(difference: float) -> float:
        second = min(auroc + difference, 1 - 1e-12)
        error = paired_auroc_error(auroc, second, num_positive, num_negative, correlation=correlation)
        return difference - needed * error

    most = 1 - auroc
    return None if excess(most) < 0 else float(optimize.brentq(excess, 0.0, most, xtol=1e-12))


def _fewest(enough: Callable[[float], bool]) -> int:
    """The smallest whole number that is enough, where every larger one is too.

    Raises:
        MetricError: there is none up to ten million.
    """
    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_CASES:
            raise MetricError(
                f"A study must be possible. Got a wish that {MOST_CASES:,} cases do not fulfill. Ask for less."
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _quantile(confidence: float) -> float:
    return float(special.ndtri((1 + confidence) / 2))


def _require_share(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise MetricError(f"The {what} must lie between 0 and 1. Got {value}. Give a share such as 0.9.")


def _require_discordant(difference: float, discordant: float) -> None:
    if not 0 < abs(difference) <= discordant <= 1:
        raise MetricError(
            f"Two models differ by at most the share of cases on which they disagree. Got a difference of {difference} "
            f"and {discordant} discordant cases. Give a difference above 0 and up to --discordant."
        )


def _require_margin(margin: float, difference: float) -> None:
    if not 0 < margin < inf or margin + difference <= 0:
        raise MetricError(
            f"What is to be shown must be expected. Got a margin of {margin} and an expected difference of "
            f"{difference}. Give a margin above 0 and above the expected loss."
        )
