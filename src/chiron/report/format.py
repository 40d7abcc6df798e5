"""How numbers look to a reader: decimals, intervals, counts and shares are written here and nowhere else."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

Estimate = Mapping[str, Any]  # one number of an evaluation: value, low, high, method, counts, note

NBSP = "\u00a0"  # keeps a number and its unit on one line


class Few(int):
    """A count below five that must not be told; any text of it reads "<5", and its own value says nothing.

    Example:
        >>> count(Few()), plural(Few(), "image")
        ('<5', '<5\\xa0images')
    """

    TEXT = "<5"

    def __new__(cls) -> "Few":
        """The one such count; arithmetic sees the middle of what it may be."""
        return super().__new__(cls, 2)

    def __format__(self, spec: str) -> str:
        return self.TEXT

    __str__ = __repr__ = lambda self: Few.TEXT


def number(value: float, decimals: int = 3) -> str:
    """A metric with a fixed number of decimals and a true minus sign; never "-0.000".

    Example:
        >>> number(0.94449), number(-0.0001), number(-0.25, 2)
        ('0.944', '0.000', '−0.25')
    """
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return text.replace("-", "−")


def is_multi_label(evaluation: Mapping[str, Any]) -> bool:
    """Whether an evaluation is of images that can have several classes or none."""
    return evaluation.get("kind") == "multi_label"


def case(evaluation: Mapping[str, Any]) -> str:
    """What is counted once, in a word: image, unit or patient.

    Example:
        >>> case({}), case({"unit": {"name": "patient"}})
        ('image', 'patient')
    """
    return str((evaluation.get("unit") or {}).get("name", "image"))


def p_value(value: float) -> str:
    """A p-value as a sentence has it, never zero.

    Example:
        >>> p_value(0.0123), p_value(1e-9)
        ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if value < 0.001 else f"p = {number(value)}"


def count(value: int) -> str:
    """A whole number with thousands separators.

    Example:
        >>> count(29012165)
        '29,012,165'
    """
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun in the right form.

    Example:
        >>> plural(1, "image"), plural(2300, "image"), plural(2, "class", "classes")
        ('1\\xa0image', '2,300\\xa0images', '2\\xa0classes')
    """
    return f"{count(value)}{NBSP}{one if value == 1 else many or one + 's'}"


def cases(evaluation: Mapping[str, Any]) -> str:
    """How many are counted, with their noun.

    Example:
        >>> cases({"num_images": 2300})
        '2,300\\xa0images'
    """
    return plural(evaluation["num_images"], case(evaluation))


def percent(share: float, decimals: int = 1) -> str:
    """A share of one as a percentage.

    Example:
        >>> percent(0.625)
        '62.5\\xa0%'
    """
    return f"{number(100 * share, decimals)}{NBSP}%"


def share(part: int, whole: int) -> str:
    """The percentage that a part is of the whole; a dash where there is none or where a count must not be told.

    Example:
        >>> share(5, 8), share(0, 0), share(Few(), 8)
        ('62.5\\xa0%', '–', '–')
    """
    if not whole or isinstance(part, Few) or isinstance(whole, Few):
        return "–"
    return percent(part / whole)


def total(counts: Iterable[int]) -> int:
    """The sum; a multiple of five, rounded down, where a count in it must not be told."""
    found = list(counts)
    return sum(found) // 5 * 5 if any(isinstance(it, Few) for it in found) else sum(found)


def level(confidence_level: float) -> str:
    """The confidence level as a heading says it.

    Example:
        >>> level(0.95)
        '95\\xa0%'
    """
    return f"{100 * confidence_level:g}{NBSP}%"


def seconds(value: float) -> str:
    """A time span in the unit that people would use.

    Example:
        >>> seconds(4.24), seconds(95), seconds(7380)
        ('4.2\\xa0s', '1\\xa0min 35\\xa0s', '2\\xa0h 3\\xa0min')
    """
    if value < 60:
        return f"{value:.1f}{NBSP}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{NBSP}min {whole % 60}{NBSP}s"
    return f"{whole // 3600}{NBSP}h {whole % 3600 // 60}{NBSP}min"


def spread(low: float, high: float, decimals: int = 3) -> str:
    """Two limits with a dash, or with "to" where a minus sign would be misread.

    Example:
        >>> spread(0.918, 0.959), spread(-0.01, 0.02)
        ('0.918–0.959', '−0.010 to 0.020')
    """
    between = " to " if low < 0 or high < 0 else "–"
    return f"{number(low, decimals)}{between}{number(high, decimals)}"


def defined(estimate: Estimate) -> bool:
    """Whether the estimate has a finite value."""
    value = estimate.get("value")
    return value is not None and math.isfinite(value)


def has_interval(estimate: Estimate) -> bool:
    """Whether the estimate has a value and both limits."""
    limits = (estimate.get("low"), estimate.get("high"))
    return defined(estimate) and all(limit is not None and math.isfinite(limit) for limit in limits)


def reason(estimate: Estimate) -> str:
    """Why a value or an interval is absent, as the evaluation stored it."""
    return str(estimate.get("note") or "no reason stored")


def value_text(estimate: Estimate) -> str:
    """The value alone, or "not defined: <reason>"; of a value that is withheld what may be said of it."""
    if estimate.get("withheld"):
        return reason(estimate)
    return number(estimate["value"]) if defined(estimate) else f"not defined: {reason(estimate)}"


def interval_text(estimate: Estimate) -> str:
    """The limits alone, or "no interval: <reason>"; empty where there is no value either."""
    if not defined(estimate):
        return ""
    if not has_interval(estimate):
        return f"no interval: {reason(estimate)}"
    return spread(estimate["low"], estimate["high"])


def share_text(estimate: Estimate) -> str:
    """A proportion as a percentage, or why there is none."""
    return percent(estimate["value"]) if defined(estimate) else value_text(estimate)


def estimate_text(estimate: Estimate, confidence_level: float = 0.95) -> str:
    """Value and interval as a sentence has them.

    Example:
        >>> estimate_text({"value": 0.944, "low": 0.918, "high": 0.959}).replace(NBSP, " ")
        '0.944 (95 % CI 0.918–0.959)'
        >>> estimate_text({"value": None, "note": "no positive image"})
        'not defined: no positive image'
    """
    if not has_interval(estimate):
        limits = interval_text(estimate)
        return value_text(estimate) + (f" ({limits})" if limits else "")
    return f"{value_text(estimate)} ({level(confidence_level)} CI {interval_text(estimate)})"


def listed(names: list[str], most: int | None = None) -> str:
    """Names with commas and a last "and"; beyond `most` only how many there are more.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
        ('a, b and c', 'a and 2 more')
    """
    if most is not None and len(names) > most:
        names = [*names[:most], f"{count(len(names) - most)} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
