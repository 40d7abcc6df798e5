"""`Finding`: what every comparison says, of models or of methods, and the family in which it is judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chiron.core.errors import MetricError
from chiron.metrics.comparison.compared_number import ComparedNumber
from chiron.metrics.comparison.verdict import Judged, Limits, Verdict, WithinMargin, judge, judge_margin
from chiron.metrics.holm import holm

IDENTICAL: Verdict = "identical predictions"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The difference second - first of one number, its interval and test, and what may be said.

    With `scale: log` (likelihood ratios) difference and limits are of the logarithms: exp(difference) is the ratio
    second / first, and the values of methods are geometric means over seeds or folds.

    `low` and `high` are of this difference alone; `simultaneous` holds for all comparisons of the family together and
    is null where there is but one. What is undefined is null, with the reason in `note`.
    """

    metric: str
    first: str
    second: str
    first_value: float | None
    second_value: float | None
    scale: Literal["plain", "log"]
    difference: float | None
    low: float | None
    high: float | None
    simultaneous: list[float] | None
    confidence_level: float
    p_value: float | None
    adjusted_p: float | None
    test: str
    method: str
    margin: WithinMargin | None
    verdict: Verdict
    words: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One comparison before its family is known; NaN and None where something is undefined."""

    number: ComparedNumber
    first: str
    second: str
    values: tuple[float, float]
    difference: float
    limits: Callable[[float], Limits]
    p_value: float
    test: str
    method: str
    note: str | None  # why there is no verdict
    identical: bool = False


def without_numbers(number: ComparedNumber, first: str, second: str, first_value: float, reason: str) -> Tested:
    """A comparison of the plan that has no numbers: it counts in the family, and is told with the reason."""
    return Tested(
        number=number,
        first=first,
        second=second,
        values=(first_value, float("nan")),
        difference=float("nan"),
        limits=lambda _: None,
        p_value=float("nan"),
        test="none",
        method="none",
        note=reason,
    )


@dataclass(frozen=True)
class Levels:
    """The confidence that each interval of a family needs, so that all hold together with 1 - alpha and 1 - 2 alpha."""

    confidence: float
    outer: float
    inner: float


def findings(family: Sequence[Tested], levels: Levels, margin: float | None) -> list[Finding]:
    """Every comparison judged: p-values adjusted by Holm, intervals simultaneous where there are several.

    Raises:
        MetricError: the margin is not above 0, or a number is a ratio, which has no margin.
    """
    if margin is not None and not margin > 0:
        raise MetricError(
            f"A margin must be above 0. Got {margin}. Declare the largest difference that does not matter."
        )
    if margin is not None and (ratios := [it.number.name for it in family if it.number.is_ratio]):
        raise MetricError(
            f"A margin is of numbers that are subtracted. Got {ratios[0]}, which is compared as a ratio. Leave the "
            "margin out, or compare sensitivity and specificity."
        )
    adjusted, _ = holm([tested.p_value for tested in family])
    return [
        _identical(tested, levels, margin) if tested.identical else _judged(tested, p_value, levels, margin)
        for tested, p_value in zip(family, adjusted, strict=True)
    ]


def _judged(tested: Tested, adjusted: float, levels: Levels, margin: float | None) -> Finding:
    alone, together, inner = (tested.limits(level) for level in (levels.confidence, levels.outer, levels.inner))
    judged = judge(
        tested.first,
        tested.second,
        sign=tested.number.sign,
        is_ratio=tested.number.is_ratio,
        limits=together,
        p_value=or_none(adjusted),
        alpha=1 - levels.confidence,
        reason=tested.note,
    )
    within = None
    if margin is not None:
        names = {"first": tested.first, "second": tested.second}
        within = judge_margin(margin, sign=tested.number.sign, inner=inner, outer=together, reason=tested.note, **names)
    return _finding(tested, levels, judged, within, alone, together, adjusted)


def _identical(tested: Tested, levels: Levels, margin: float | None) -> Finding:
    words = f"{IDENTICAL}: {tested.first} and {tested.second} give the same output for every case"
    within = None if margin is None else WithinMargin(margin, True, None, True, words)
    return _finding(tested, levels, Judged(IDENTICAL, words), within, None, None, 1.0)


def _finding(
    tested: Tested,
    levels: Levels,
    judged: Judged,
    within: WithinMargin | None,
    alone: Limits,
    together: Limits,
    adjusted: float,
) -> Finding:
    has_family = levels.outer != levels.confidence
    return Finding(
        metric=tested.number.name,
        first=tested.first,
        second=tested.second,
        first_value=or_none(tested.values[0]),
        second_value=or_none(tested.values[1]),
        scale="log" if tested.number.is_ratio else "plain",
        difference=or_none(tested.difference),
        low=alone[0] if alone else None,
        high=alone[1] if alone else None,
        simultaneous=list(together) if has_family and together else None,
        confidence_level=levels.confidence,
        p_value=or_none(tested.p_value),
        adjusted_p=or_none(adjusted),
        test=IDENTICAL if tested.identical else tested.test,
        method=IDENTICAL if tested.identical else tested.method,
        margin=within,
        verdict=judged.verdict,
        words=f"{tested.number.name}: {judged.words}",
        note=None if tested.identical else tested.note,
    )


def or_none(value: float) -> float | None:
    """A JSON number: null for NaN."""
    return None if np.isnan(value) else float(value)
