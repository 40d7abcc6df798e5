"""Columns that divide patients into subgroups: which are looked at by default, and how their values become groups."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean
from chiron.data.columns import plain_name
from chiron.data.manifest_columns import ColumnRole

NOT_RECORDED = "not recorded"
AGE_LIMITS = (18, 40, 65)  # years
MOST_VALUES = 12  # groups of names; rarer ones are taken together
_OTHERS = "all others"
_AGES = ("age", "age_approx", "patient_age")
_PREDICTORS = (*_AGES, "sex", "gender", "patient_gender")  # of predictor columns those that name who a patient is
_UNKNOWN = ("", "unknown", "nan", "na", "n/a", "none", "null", NOT_RECORDED)
_FEW_NUMBERS = 8  # numbers of so many values are names: a grade, a code


def subgroup_columns(
    columns: Sequence[str], roles: Mapping[str, ColumnRole], asked: Sequence[str] = ()
) -> tuple[str, ...]:
    """The columns to divide by: those asked for, else those with the role subgroup or site, age and sex.

    Raises:
        DataError: a column that is asked for is not there.
    """
    if missing := [name for name in asked if name not in columns]:
        raise DataError(
            f"Subgroups must be columns of the table of predictions. Got {missing[0]!r}. "
            f"{did_you_mean(missing[0], columns)} There are {', '.join(columns)}.".replace("  ", " ")
        )
    if asked:
        return tuple(asked)
    return tuple(
        name
        for name in columns
        if roles.get(name) in ("subgroup", "site")
        or (roles.get(name) == "predictor" and plain_name(name) in _PREDICTORS)
    )


def groups_of(column: pl.Series) -> tuple[tuple[str, ...], Int[np.ndarray, "n"]]:
    """The names of the groups of a column and each row's place among them; missing values are the last group.

    Ages in years become 0-17, 18-39, 40-64, 65 and over; other numbers of many values quarters of those that are
    known, with their limits in the names. Names stay, the rarest beyond `MOST_VALUES` together. A group without a row
    is not there.
    """
    texts = [None if value is None else str(value).strip() for value in column.to_list()]
    known = np.array([text is not None and text.lower() not in _UNKNOWN for text in texts], dtype=bool)
    numbers = _numbers(texts, known)
    if numbers is not None and plain_name(column.name) in _AGES:
        limits = np.array(AGE_LIMITS, dtype=float)
        names = [f"{start}-{end - 1}" for start, end in pairwise((0, *AGE_LIMITS))]
        names.append(f"{AGE_LIMITS[-1]} and over")
        places = np.searchsorted(limits, numbers, side="right")
    elif numbers is not None and len(np.unique(numbers[known])) > _FEW_NUMBERS:
        limits = np.unique(np.quantile(numbers[known], (0.25, 0.5, 0.75)))
        between = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(limits)]
        names = [f"below {limits[0]:.3g}", *between, f"{limits[-1]:.3g} and more"]
        places = np.searchsorted(limits, numbers, side="right")
    else:
        names, places = _named(texts, known)
    places = np.where(known, places, len(names))
    return _present([*names, NOT_RECORDED], places)


def _numbers(texts: Sequence[str | None], known: np.ndarray) -> Float[np.ndarray, "n"] | None:
    """The values as numbers (0 where unknown) if every known one is a finite one."""
    try:
        numbers = np.array([float(text) if there and text else 0.0 for text, there in zip(texts, known, strict=True)])
    except ValueError:
        return None
    return numbers if known.any() and np.isfinite(numbers).all() else None


def _named(texts: Sequence[str | None], known: np.ndarray) -> tuple[list[str], Int[np.ndarray, "n"]]:
    values = [text for text, there in zip(texts, known, strict=True) if there and text is not None]
    counted = Counter(values)
    names = sorted(counted)
    if len(names) > MOST_VALUES:
        common = sorted(names, key=lambda name: (-counted[name], name))[: MOST_VALUES - 1]
        names = [*sorted(common), _OTHERS]
    place = {name: index for index, name in enumerate(names)}
    return names, np.array([place.get(text or "", len(names) - 1) for text in texts], dtype=np.int64)


def _present(names: Sequence[str], places: Int[np.ndarray, "n"]) -> tuple[tuple[str, ...], Int[np.ndarray, "n"]]:
    used = np.unique(places)
    return tuple(names[place] for place in used), np.searchsorted(used, places).astype(np.int64)
