"""`Estimate`: a number with its interval, method and sizes, and the reason where something is missing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """Limits of a value; null limits carry the reason in `note`."""

    low: float | None
    high: float | None
    method: str
    note: str | None = None


@dataclass(frozen=True)
class Estimate:
    """A value as reported: null where undefined, never zero or NaN, with the reason in `note`.

    `num_images` is the denominator of a proportion; `num_positive_groups` counts groups with an image of the class and
    is null where no single class is meant.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    num_images: int
    num_groups: int
    num_positive_groups: int | None = None
    note: str | None = None
