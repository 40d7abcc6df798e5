"""Splits by site and by time: whole sites, or everything after a day, become the test split.

Testing at another site, or on later patients, asks more of a model than a random split does. What is left is dealt to
the other roles as ever. A group with images on both sides (a patient who came again, or elsewhere) keeps those of the
training side; its others are left out, so that nothing crosses.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
from jaxtyping import Bool

from chiron.core.errors import DataError
from chiron.core.hashing import seed_of
from chiron.core.suggest import did_you_mean
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import ColumnRole
from chiron.data.split import assign_splits, is_usable

_DATE = re.compile(r"(\d{4})(?:([-/.]?)(\d{2})(?:\2(\d{2}))?)?(?:\D.*)?")
_MOST_NAMED = 5


@dataclass(frozen=True)
class SplitBy:
    """What decides the test split: the name of a column, or `site` or `date` for the one with that role.

    `test_sites` and `after` name it; without them the share of the images that the test split is to get does.
    """

    column: str
    test_sites: tuple[str, ...] = ()
    after: date | None = None


def split_by(manifest: Manifest, by: SplitBy, *, fractions: Mapping[str, float], seed: int) -> Manifest:
    """The manifest with a test split of whole sites, or of everything after a day; existing splits are not kept.

    Raises:
        DataError: no such column or site, no date, a side without images, or a split that lacks a class.
    """
    if not fractions.get("test"):
        raise DataError("A split by site or date needs a test split. Got a share of 0. Give --test a share.")
    column = _column(manifest, by.column)
    values = [None if value is None else str(value).strip() for value in manifest.frame[column].to_list()]
    usable = manifest.frame.select(is_usable(manifest)).to_series().to_numpy()
    known = np.array([value is not None for value in values], dtype=bool)
    if by.after is not None or manifest.roles.get(column) == "date":
        if by.test_sites:
            raise DataError(f"Sites belong to a column of sites. Got --test-sites for dates in {column}. Leave it out.")
        in_test, told = _later(values, usable & known, by.after, fractions["test"])
    else:
        in_test, told = _of_sites(values, usable & known, by.test_sites, fractions["test"], seed)
    if not (in_test & usable).any() or not (~in_test & usable & known).any():
        raise DataError(f"Both sides of a split must hold images. Got all on one side of {column}. {told}")
    return _with_test(manifest, column, in_test, usable, known, told, fractions, seed)


def _with_test(
    manifest: Manifest,
    column: str,
    in_test: Bool[np.ndarray, "n"],
    usable: Bool[np.ndarray, "n"],
    known: Bool[np.ndarray, "n"],
    told: str,
    fractions: Mapping[str, float],
    seed: int,
) -> Manifest:
    groups = manifest.frame["group_id"].to_numpy()
    in_training = set(groups[~in_test & usable & known])
    torn = in_test & usable & np.isin(groups, list(in_training))
    unknown = usable & ~known
    # An image without a value may stand on either side, and so may all others of its group.
    reason = np.where(torn, f"of a group on both sides of {column}", np.where(unknown, f"no {column}", ""))
    out = torn | unknown
    frame = manifest.frame.with_columns(
        pl.when(pl.Series(out)).then(pl.lit("excluded")).otherwise(pl.col("status")).alias("status"),
        pl.when(pl.Series(out)).then(pl.Series(reason)).otherwise(pl.col("status_reason")).alias("status_reason"),
        pl.when(pl.Series(in_test & ~out)).then(pl.lit("test")).otherwise(None).alias("split"),
    )
    notes = [told]
    if torn.any():
        notes.append(
            f"Groups with images on both sides of {column}: {len(set(groups[torn])):,}. They stay on the training "
            f"side; their {int(torn.sum()):,} images of the test side are left out."
        )
    if unknown.any():
        notes.append(f"Images without a {column} are left out: {int(unknown.sum()):,}.")
    divided = replace(manifest, frame=frame, notes=(*manifest.notes, *notes), fold=None)
    return assign_splits(divided, fractions=fractions, seed=seed)


def _column(manifest: Manifest, asked: str) -> str:
    """The column that is asked for by name, or by its role."""
    if asked in manifest.frame.columns:
        return asked
    with_role = [name for name, role in manifest.roles.items() if role == asked and asked in ("site", "date")]
    if len(with_role) == 1:
        return with_role[0]
    wanted: tuple[ColumnRole, ...] = ("site", "date")
    able = [name for name, role in manifest.roles.items() if role in wanted]
    got = f"{len(with_role)} columns with the role {asked} ({', '.join(with_role)})" if with_role else repr(asked)
    raise DataError(
        f"A split must be by one column of the data. Got {got}. {did_you_mean(asked, manifest.frame.columns)} "
        f"Columns of sites and dates here: {', '.join(able) or 'none'}.".replace("  ", " ")
    )


def _of_sites(
    values: Sequence[str | None], usable: Bool[np.ndarray, "n"], named: Sequence[str], share: float, seed: int
) -> tuple[Bool[np.ndarray, "n"], str]:
    """Rows of the test sites: those named, or so many, in the order of hashes, that their share comes nearest."""
    counts = Counter(value for value, counted in zip(values, usable, strict=True) if counted and value is not None)
    if missing := [name for name in named if name not in counts]:
        raise DataError(
            f"A test site must be one of {', '.join(sorted(counts)[:20])}. Got {missing[0]!r}. "
            f"{did_you_mean(missing[0], counts)}".rstrip()
        )
    if len(counts) < 2:
        raise DataError(f"A split by site needs two sites. Got {len(counts)}. Split without --by.")
    chosen = set(named)
    if not named:
        wanted, have = share * sum(counts.values()), 0
        for name in sorted(counts, key=lambda name: (seed_of("site", seed, name), name)):
            if abs(have + counts[name] - wanted) < abs(have - wanted) and len(chosen) < len(counts) - 1:
                chosen.add(name)
                have += counts[name]
        chosen = chosen or {min(counts, key=lambda name: (counts[name], name))}
    listed = ", ".join(f"{name} ({counts[name]:,} images)" for name in sorted(chosen))
    return np.array([value in chosen for value in values], dtype=bool), f"Test sites: {listed}."


def _later(
    values: Sequence[str | None], usable: Bool[np.ndarray, "n"], after: date | None, share: float
) -> tuple[Bool[np.ndarray, "n"], str]:
    """Rows after the day; without one, after that whose later images come nearest to the share."""
    days = [None if value is None else _day(value) for value in values]
    if after is None:
        counts = Counter(day for day, counted in zip(days, usable, strict=True) if counted and day is not None)
        if len(counts) < 2:
            raise DataError(f"A split by date needs two dates. Got {len(counts)}. Split without --by.")
        ordered = sorted(counts)
        later = sum(counts.values()) - np.cumsum([counts[day] for day in ordered])[:-1]
        after = ordered[int(np.argmin(np.abs(later - share * sum(counts.values()))))]
    return np.array([day is not None and day > after for day in days], dtype=bool), f"Test: everything after {after}."


def _day(text: str) -> date:
    """A day as 2021-06-01, 2021/06/01, 20210601, 2021-06 or 2021; the first day where none is given.

    Raises:
        DataError: another form, or a day that does not exist.
    """
    found = _DATE.fullmatch(text)
    try:
        if found:
            year, _, month, day = found.groups()
            return date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        pass
    raise DataError(f"A date must read as 2021-06-01, 20210601 or 2021. Got {text!r}. Correct the column.")
