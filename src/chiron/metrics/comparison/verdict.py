"""What a comparison lets one say: "better" only where a test supports it, and never that two models are equal.

Differences are turned so that more is better before they are judged, so that one rule serves sensitivity and log loss.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "worse", "no evidence of a difference", "identical predictions", "no verdict"]
Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Judged:
    """A verdict on the second against the first, in one word and in a sentence."""

    verdict: Verdict
    words: str


@dataclass(frozen=True)
class WithinMargin:
    """Whether the difference is shown to be small, by a margin declared beforehand.

    `equivalent`: the interval at 1 - 2 alpha lies inside the margin on both sides (two one-sided tests);
    `not_inferior`: the interval at 1 - alpha lies above minus the margin. Null where there is no interval.
    """

    margin: float
    equivalent: bool | None
    equivalence_interval: list[float] | None
    not_inferior: bool | None
    words: str


def judge(
    first: str,
    second: str,
    *,
    sign: int,
    is_ratio: bool = False,
    limits: Limits,
    p_value: float | None,
    alpha: float,
    reason: str | None,
) -> Judged:
    """The verdict on `second` against `first`.

    Args:
        sign: 1 where more of the number is better, -1 where less is.
        is_ratio: the limits are of the logarithm of second / first, and told as ratios.
        limits: of the difference second - first, of the family where there are several comparisons.
        p_value: adjusted for the family.
        reason: why there can be no verdict, for example too few cases.
    """
    if reason or p_value is None or limits is None:
        return Judged("no verdict", f"no verdict: {reason or 'there is no valid test here'}")
    low, high = sorted(sign * limit for limit in limits)
    if p_value < alpha and low > 0:
        return Judged("better", f"{second} is better than {first}, by at least {_size(low, is_ratio)} ({_p(p_value)})")
    if p_value < alpha and high < 0:
        return Judged("worse", f"{second} is worse than {first}, by at least {_size(-high, is_ratio)} ({_p(p_value)})")
    ends = [f"{np.exp(limit):.3f}" if is_ratio else f"{limit:+.4f}" for limit in limits]
    span = f"{'ratios' if is_ratio else 'differences'} from {ends[0]} to {ends[1]} remain possible"
    return Judged("no evidence of a difference", f"no evidence of a difference ({span})")


def judge_margin(
    margin: float, *, sign: int, inner: Limits, outer: Limits, first: str, second: str, reason: str | None
) -> WithinMargin:
    """Whether `second` is equivalent, or not inferior, to `first`.

    Args:
        margin: above 0, in units of the number.
        inner: limits of the difference at confidence 1 - 2 alpha; outer: at 1 - alpha.
        reason: why there can be no verdict.
    """
    if reason or inner is None or outer is None:
        return WithinMargin(margin, None, None, None, f"no verdict: {reason or 'there is no interval here'}")
    equivalent = -margin < inner[0] and inner[1] < margin
    not_inferior = min(sign * limit for limit in outer) > -margin
    words = f"{second} is {'equivalent' if equivalent else 'not shown to be equivalent'} to {first} within {margin:g}"
    words += f", and {'not inferior' if not_inferior else 'not shown to be not inferior'} by that margin"
    return WithinMargin(margin, equivalent, [inner[0], inner[1]], not_inferior, words)


def _size(difference: float, is_ratio: bool) -> str:
    return f"a factor of {np.exp(difference):.3f}" if is_ratio else f"{difference:.4f}"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
