"""From the cells of a table to the classes of an image: a column of names or whole numbers, or one column a class.

One column a class says one class where every row has exactly one 1. It says several where a cell is -1 (uncertain) or
more than a hundredth of the rows have several 1s; fewer are taken as mistakes and refused by line. A table in which no
row has several and some rows have none is left to a person (`--labels multi`), as both readings are usual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from chiron.core.errors import DataError
from chiron.data.columns import COLUMN_NAMES, LABEL, columns_for, known_names, known_roles
from chiron.data.manifest_columns import LABEL_PREFIX, UNCERTAIN, require_class_names
from chiron.data.readers._base import require_classes
from chiron.data.tables import Table

_UNKNOWN = ("UNK", "UNKNOWN")  # a column that says: none of the classes
_NO_LABEL = {"nan", "null", "n/a", "#n/a", "-", "--", "?", "unk", "unknown"}  # cells that say: not known
_ONE, _ZERO = {"1", "1.0", "1.00", "true", "True", "TRUE"}, {"0", "0.0", "0.00", "false", "False", "FALSE"}
_MARKS = (float(UNCERTAIN), 0.0, 1.0)  # what a column of several classes may hold
_LARGEST_NUMBER = 9999
_FEW = 0.01  # rows with several 1s up to this share are mistakes of a table of one class an image
_BETWEEN = "|"  # between names of classes in one cell
_NONE = "no finding"  # a name that says: none of the classes, all assessed


@dataclass(frozen=True)
class LabelColumns:
    """Where a table says what an image shows: in `single`, or in one column a class; `several` classes or one."""

    single: str | None = None
    one_hot: tuple[str, ...] = ()
    unknown: str | None = None
    several: bool = False
    sparse: tuple[str, ...] = ()  # columns of 0 and 1 that are mostly blank, and not taken for classes

    @property
    def columns(self) -> set[str]:
        """All columns that are labels."""
        return {name for name in (self.single, *self.one_hot, self.unknown) if name is not None}

    def notes(self, table: Table) -> list[str]:
        """Which columns were taken, where a person could have meant others."""
        if self.single is None:
            unused = f"; mostly blank and not used: {', '.join(self.sparse)}" if self.sparse else ""
            return [f"Classes of {table.name} are the columns {', '.join(self.one_hot)}{unused}."]
        others = [name for name in columns_for(LABEL, table.frame.columns, table=table.name) if name != self.single]
        rivals = f"; not used: {', '.join(others)}" if others else ""
        return [f"Classes of {table.name} come from the column {self.single}{rivals}."]


def find_labels(table: Table, kind: Literal["single", "multi"] | None = None) -> LabelColumns | None:
    """The label columns of a table; None where it has none.

    Args:
        kind: how many classes an image can show, where a person or a reader said it.
    """
    columns = table.frame.columns
    single = columns_for(LABEL, columns, table=table.name)
    others = {name for what in COLUMN_NAMES for name in columns_for(what, columns, table=table.name)}
    others |= set(known_roles(columns))
    if single and kind != "multi":
        return LabelColumns(single=single[0])
    cells = {name: _as_shares(table.frame[name]) for name in columns if name not in others}
    shares = [name for name, column in cells.items() if _is_filled(column) and _lies_in(column, 0)]
    marks = [name for name, column in cells.items() if _lies_in(column, UNCERTAIN) and _is_whole(column)]
    unknown = next((name for name in shares if name.upper() in _UNKNOWN), None)
    uncertain = any(not _lies_in(cells[name], 0) for name in marks)
    if kind == "multi" or (kind is None and uncertain and unknown is None):
        if len(marks) > (1 if kind is None else 0):
            return LabelColumns(one_hot=tuple(marks), several=True)
        return LabelColumns(single=single[0], several=True) if single else None
    classes = tuple(name for name in shares if name != unknown)
    if len(classes) < 2:
        return None
    several = kind is None and unknown is None and _many_rows_have_several(cells, classes)
    sparse = tuple(name for name in marks if name not in shares) if several else ()
    return LabelColumns(one_hot=classes, unknown=unknown, several=several, sparse=sparse)


def _as_shares(column: pl.Series) -> pl.Series | None:
    """The cells as numbers, also true and false; None where one is something else."""
    plain = column.replace(dict.fromkeys(_ONE, "1") | dict.fromkeys(_ZERO, "0"))
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == plain.null_count() < len(plain) else None


def _is_filled(column: pl.Series | None) -> bool:
    """Whether more than half of the cells say something: a few blank ones are a mistake to tell, not a no."""
    return column is not None and len(column) - column.null_count() > len(column) / 2


def _lies_in(column: pl.Series | None, low: int) -> bool:
    return column is not None and bool(column.drop_nulls().is_between(low, 1).all())


def _is_whole(column: pl.Series | None) -> bool:
    return column is not None and bool(column.drop_nulls().is_in(_MARKS).all())


def _many_rows_have_several(cells: Mapping[str, pl.Series | None], classes: Sequence[str]) -> bool:
    ones = pl.DataFrame([cells[name].alias(name) for name in classes]).select(  # type: ignore[union-attr]
        pl.sum_horizontal((pl.all() == 1).fill_null(False))
    )
    return int((ones.to_series() > 1).sum()) > _FEW * ones.height


def read_labels(
    tables: Sequence[tuple[Table, LabelColumns]],
) -> tuple[list[list[pl.Series]], tuple[str, ...], list[str]]:
    """The label columns of every table as a manifest has them (null where not known), the classes, and what to tell.

    Classes stand in the order of the columns; those of a label column are sorted, whole numbers by size. Numbers that
    start at 0 count on to the largest, so that a class without images is seen.

    Raises:
        DataError: rows with no class or several where one is meant, each by its line; tables that name their classes
            in different ways.
    """
    several = any(labels.several for _, labels in tables)  # of a split's table that has few rows with several as well
    forms = {labels.one_hot or (labels.single or "").casefold() for _, labels in tables}
    if len(forms) > 1:
        raise DataError(
            "Tables of labels must have the same label columns. Got "
            f"{'; '.join(f'{table.name}: ' + ', '.join(sorted(labels.columns)) for table, labels in tables)}. "
            "Make them alike."
        )
    if several:
        return _read_several(tables)
    columns = [
        _one_hot(table, labels) if labels.single is None else _single(table.frame[labels.single])
        for table, labels in tables
    ]
    classes = tables[0][1].one_hot
    if not classes:
        columns, classes = _named(columns, tables[0][0].name)
    return [[pl.Series("label", column, pl.String)] for column in columns], classes, []


def _named(columns: list[list[str | None]], table: str) -> tuple[list[list[str | None]], tuple[str, ...]]:
    """Names as they are, or whole numbers without zeros in front; and the classes."""
    said = [name for column in columns for name in column if name is not None]
    if not said:
        raise DataError(f"A table must say what its images show. Got no label at all in {table}.")
    if all(name.isdecimal() and int(name) <= _LARGEST_NUMBER for name in said):
        numbers = sorted({int(name) for name in said})
        classes = range(numbers[-1] + 1) if numbers[0] == 0 else numbers
        plain = [[None if name is None else str(int(name)) for name in column] for column in columns]
        require_classes([name for column in plain for name in column if name is not None])
        return plain, tuple(map(str, classes))
    return columns, require_classes(said)


def _read_several(
    tables: Sequence[tuple[Table, LabelColumns]],
) -> tuple[list[list[pl.Series]], tuple[str, ...], list[str]]:
    """`label_<class>` of 1, 0, -1 and null from columns, or from cells that name all classes of an image."""
    if tables[0][1].one_hot:
        names = tables[0][1].one_hot
        read = [[_marks(table, name) for name in names] for table, _ in tables]
        short = [name.removeprefix(LABEL_PREFIX) for name in names]
        classes = tuple(short) if all(map(str.startswith, names, [LABEL_PREFIX] * len(names))) else names
    else:
        said = [[_split_cell(cell) for cell in table.frame[labels.single or ""]] for table, labels in tables]
        shown = {name for cells in said for cell in cells for name in cell or ()}
        classes = tuple(sorted(name for name in shown if name.casefold() != _NONE))
        if not classes:
            raise DataError(f"A table must say what its images show. Got no class at all in {tables[0][0].name}.")
        read = [
            [
                pl.Series([None if cell is None else int(name in cell) for cell in cells], dtype=pl.Int8)
                for name in classes
            ]
            for cells in said
        ]
    require_class_names(classes)
    marks = np.vstack(
        [np.stack([column.cast(pl.Float64).to_numpy() for column in columns], axis=1) for columns in read]
    )
    ones = (marks == 1).sum(axis=1)
    told = (
        f"An image can show several classes: of {len(marks):,} images {(ones > 1).sum():,} show several and "
        f"{(ones == 0).sum():,} none; of their labels {(marks == UNCERTAIN).sum():,} are uncertain and "
        f"{np.isnan(marks).sum():,} not assessed."
    )
    named = [
        [column.alias(LABEL_PREFIX + name) for column, name in zip(columns, classes, strict=True)] for columns in read
    ]
    return named, classes, [told]


def _named_in(name: str, cells: Sequence[frozenset[str] | None]) -> pl.Series:
    return pl.Series([None if cell is None else int(name in cell) for cell in cells], dtype=pl.Int8)


def _marks(table: Table, name: str) -> pl.Series:
    """1, 0, -1 and null."""
    column = _as_shares(table.frame[name])
    if column is None and table.frame[name].null_count() == len(table.frame[name]):
        return pl.Series([None] * len(table.frame[name]), dtype=pl.Int8)
    strange = None if column is None else column.is_not_null() & ~column.is_in(_MARKS)
    if strange is None or strange.any():
        where = table.name if strange is None else table.where(strange.arg_true())
        raise DataError(
            f"A column of several classes must hold 1, 0, -1 (uncertain) or nothing (not assessed). Got another cell "
            f"of {name} in {where}. Correct it."
        )
    assert column is not None
    return column.cast(pl.Int8)


def _split_cell(cell: str | None) -> frozenset[str] | None:
    """The classes that a cell names; None where it says nothing."""
    if cell is None or cell.lower() in _NO_LABEL:
        return None
    return frozenset(name.strip() for name in cell.split(_BETWEEN) if name.strip())


def _single(column: pl.Series) -> list[str | None]:
    whole = column.str.replace(r"^(\d+)\.0+$", "$1")  # integers that went through a float column
    said = [None if name is None or name.lower() in _NO_LABEL else name for name in column]
    numeric = all(number.isdecimal() for number, name in zip(whole, said, strict=True) if name is not None)
    return [None if name is None else number for number, name in zip(whole, said, strict=True)] if numeric else said


def _one_hot(table: Table, labels: LabelColumns) -> list[str | None]:
    """The column that holds the one 1 of each row."""
    names = [*labels.one_hot, *([labels.unknown] if labels.unknown else [])]
    plain = table.frame.select(pl.col(names).replace(dict.fromkeys(_ONE, "1") | dict.fromkeys(_ZERO, "0")))
    ones = plain.select(pl.sum_horizontal(pl.col(names).eq("1").fill_null(False).cast(pl.Int64))).to_series()
    odd = plain.select(~pl.all_horizontal(pl.col(names).is_in(["0", "1"]).fill_null(False))).to_series()
    _refuse(table, odd, "a cell that is neither 0 nor 1 (shares and ties name no class)")
    _refuse(table, ones == 0, "no class at all (only zeros)")
    _refuse(table, ones > 1, "several classes")
    place = plain.select(pl.concat_list(pl.col(names).eq("1")).list.arg_max()).to_series()
    return [None if names[index] == labels.unknown else names[index] for index in place]


def _refuse(table: Table, rows: pl.Series, what: str) -> None:
    if rows.any():
        raise DataError(
            f"Every row must have a 1 for one class and a 0 for all others. Got {int(rows.sum()):,} with {what}: "
            f"{table.where(rows.arg_true())}. Correct these rows or take them out; where an image can show several "
            "classes or none, say so: --labels multi (data.labels: multi)."
        )


def no_labels_message(table: Table) -> str:
    """Why a table cannot be learned from."""
    return (
        f"A table of labels must have a column of classes ({known_names(LABEL)}) or one column of 0 and 1 a class. "
        f"Got {', '.join(table.frame.columns)} in {table.name}. Rename the column."
    )
