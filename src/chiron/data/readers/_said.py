"""`Said`: what one table says, under the names that a manifest has."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from chiron.core.errors import DataError
from chiron.data.columns import IMAGE, SPLIT, columns_for, known_names
from chiron.data.manifest_columns import ID_COLUMNS, LABEL_PREFIX, SPLIT_FOLDERS
from chiron.data.readers._images import ImageIndex, num_named
from chiron.data.readers._labels import LabelColumns, find_labels
from chiron.data.tables import Table

KINDS = {"patient_id": "patient", "unit_id": "lesion", "group_id": "group"}
# Columns that a manifest fills in itself: of a foreign table they are carried under another name.
_FILLED_IN = {"sample_id", "label", "status", "status_reason", "bytes_sha256", "pixels_sha256", "look_hash"}
_NO_ID = {"nan", "null", "none", "n/a", "na", "#n/a", "-", "--", "?", "unknown", "unk"}  # ids that say: not known


@dataclass(frozen=True)
class Said:
    """One row an image: sample_id as written; split, path and ids as far as the table has them, then the rest.

    `labels` is None for a table that only adds columns.
    """

    table: Table
    frame: pl.DataFrame
    labels: LabelColumns | None
    notes: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """The images, as the table calls them."""
        return self.frame["sample_id"].to_list()

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name


def read_said(
    table: Table, index: ImageIndex, *, may_label: bool, kind: Literal["single", "multi"] | None = None
) -> Said:
    """What `table` says.

    Args:
        may_label: False for a table that was named as one of further columns.
        kind: how many classes an image can show, where it is known.
    Raises:
        DataError: no column that names images, a row without an image, an image in two rows, or a strange split.
    """
    frame, name = table.frame, table.name
    image = _image_column(table, index)
    blank = frame[image].is_null()
    if blank.any():
        raise DataError(f"Every row must name its image. Got none in {table.where(blank.arg_true())}. Fill {image} in.")
    _refuse_repeated(table, image)
    labels = find_labels(table, kind) if may_label else None
    used = {image} | (labels.columns if labels else set())
    notes = [] if labels is None else labels.notes(table)
    columns: dict[str, pl.Series] = {"sample_id": frame[image]}
    for what in (SPLIT, "path", *ID_COLUMNS[1:]):
        fitting = [c for c in columns_for(what, frame.columns, table=name) if c not in used and _is_filled(frame[c])]
        if not fitting:
            continue
        column = frame[fitting[0]]
        used.add(column.name)
        columns[what] = _splits(table, column.name) if what == SPLIT else column
        if what in KINDS:
            columns[what], unknown = _without_unknown(column)
            rivals = f"; not used: {', '.join(fitting[1:])}" if len(fitting) > 1 else ""
            not_known = f"; {unknown:,} cells say that it is not known" if unknown else ""
            if rivals or not_known:
                notes.append(f"{KINDS[what].capitalize()}s of {name} come from {column.name}{rivals}{not_known}.")
    several = labels is not None and labels.several
    carried = [_carried(frame[column], several=several) for column in frame.columns if column not in used]
    named = [column.alias(what) for what, column in columns.items()]
    return Said(table, pl.DataFrame([*named, *carried]), labels, tuple(notes))


def _image_column(table: Table, index: ImageIndex) -> str:
    """The column that names the images: the first that names one which is there, else the first; a path is no name."""
    fitting = columns_for(IMAGE, table.frame.columns, table=table.name)
    if not fitting:
        raise DataError(
            f"A table must have a column that names the images ({known_names(IMAGE)}). "
            f"Got {', '.join(table.frame.columns)} in {table.name}. Rename the column."
        )
    paths = columns_for("path", table.frame.columns, table=table.name)
    fitting = [column for column in fitting if column not in paths] or fitting
    return next((c for c in fitting if num_named(table.frame[c].drop_nulls().to_list(), index)), fitting[0])


def _refuse_repeated(table: Table, image: str) -> None:
    repeated = table.frame[image].is_duplicated()
    if repeated.any():
        first = table.frame[image].filter(repeated)[0]
        rows = (table.frame[image] == first).arg_true()
        count = table.frame[image].filter(repeated).n_unique()
        more = f", and {count - 1:,} more" if count > 1 else ""
        raise DataError(
            f"Every image must stand in one row. Got {first} in {table.where(rows)}{more}. Remove the repeated rows."
        )


def _splits(table: Table, column: str) -> pl.Series:
    said = table.frame[column].str.to_lowercase()
    strange = said.is_not_null() & ~said.is_in(list(SPLIT_FOLDERS))
    if strange.any():
        raise DataError(
            f"The column {column} must hold {', '.join(SPLIT_FOLDERS)} or nothing. "
            f"Got {table.frame[column].filter(strange)[0]!r} in {table.where(strange.arg_true())}. Rename it."
        )
    return said.replace(SPLIT_FOLDERS)


def _without_unknown(column: pl.Series) -> tuple[pl.Series, int]:
    """Ids without those that say that there is none, and how many these were."""
    unknown = column.str.to_lowercase().is_in(list(_NO_ID)).fill_null(False)
    return pl.select(pl.when(unknown).then(None).otherwise(column)).to_series(), int(unknown.sum())


def _is_filled(column: pl.Series) -> bool:
    """Whether a cell says something; columns of `unknown` alone must not hide another one."""
    return bool((~column.drop_nulls().str.to_lowercase().is_in(list(_NO_ID))).any())


def _carried(column: pl.Series, *, several: bool) -> pl.Series:
    taken = column.name in _FILLED_IN or column.name in (*KINDS, SPLIT, "path") or column.name.startswith("_")
    taken = taken or (several and column.name.startswith(LABEL_PREFIX))
    return column.alias(f"{column.name}_given") if taken else column
