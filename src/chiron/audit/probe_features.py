"""What a probe sees: columns of numbers and of categories, turned into a matrix for a small additive model.

A number becomes its rank and eight bins of equal counts, so that any course along it can be learned; a category becomes
one column a value. Missing is a value. Nothing here looks at the labels.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

BINS = 8
_MOST_VALUES = 30  # of a category; rarer ones are taken together
_MISSING = "(missing)"
_OTHERS = "(others)"

Matrix = Float[np.ndarray, "n _columns"]


def binned(values: Float[np.ndarray, "n"]) -> Matrix:
    """The rank of a number, scaled to -1..1, and which of eight bins it lies in; one more for missing (NaN).

    No column where all values are equal.
    """
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) + (not known.all()) < 2:
        return np.zeros((len(values), 0))
    # Numbers of few values get a bin a value; else the bins hold equal counts.
    edges = distinct[1:] if len(distinct) <= BINS else np.unique(np.quantile(values[known], np.arange(1, BINS) / BINS))
    place = np.where(known, np.searchsorted(edges, np.where(known, values, 0), side="right"), len(edges) + 1)
    rank = np.where(known, np.searchsorted(distinct, np.where(known, values, 0)), 0) / max(1, len(distinct) - 1)
    indicators = (place[:, None] == np.arange(len(edges) + 2)).astype(np.float64)
    return np.column_stack([np.where(known, 2 * rank - 1, 0), indicators[:, indicators.any(axis=0)]])


def one_hot(values: Sequence[str]) -> Matrix:
    """One column a value; all but the 30 most frequent share one. No column where all values are equal."""
    counts = Counter(values)
    if len(counts) < 2:
        return np.zeros((len(values), 0))
    common = sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_VALUES]
    held = np.array([value if value in common else _OTHERS for value in values], dtype=object)
    return np.column_stack([held == value for value in (*common, *{_OTHERS} & set(held))]).astype(np.float64)


def standardized(block: Float[np.ndarray, "n _width"]) -> Matrix:
    """Columns of mean 0, together as heavy as the bins of one number; columns without spread are left out."""
    if not len(block):  # no image is readable
        return block[:, :0]
    spread = block.std(axis=0)
    kept = spread > 1e-6
    weight = np.sqrt(BINS / max(1, kept.sum()))
    return (block[:, kept] - block[:, kept].mean(axis=0)) / spread[kept] * weight


def texts(column: pl.Series) -> list[str]:
    """A column as categories; a blank one is a value of its own."""
    return [str(value).strip() if value is not None else _MISSING for value in column]


def as_numbers(column: pl.Series) -> Float[np.ndarray, "_n"] | None:
    """A column as numbers (dates as days), NaN where blank; None where it holds words or few values."""
    known = column.drop_nulls()
    numbers = column.cast(pl.Float64, strict=False)
    if column.dtype == pl.String and numbers.null_count() > column.null_count():
        days = column.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        numbers = days.cast(pl.Int32).cast(pl.Float64)
    if numbers.null_count() > column.null_count() or known.n_unique() <= BINS:
        return None
    return numbers.fill_null(np.nan).to_numpy().astype(np.float64)
