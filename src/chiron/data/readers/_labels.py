"""From the cells of a table to one class an image: a column of names or whole numbers, or one column a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from chiron.core.errors import DataError
from chiron.data.columns import COLUMN_NAMES, LABEL, columns_for, known_names, known_roles
from chiron.data.readers._base import require_classes
from chiron.data.tables import Table

_UNKNOWN = ("UNK", "UNKNOWN")  # a column that says: none of the classes
_NO_LABEL = {"nan", "null", "n/a", "#n/a", "-", "--", "?", "unk", "unknown"}  # cells that say: not known
_ONE, _ZERO = {"1", "1.0", "1.00", "true", "True", "TRUE"}, {"0", "0.0", "0.00", "false", "False", "FALSE"}
_LARGEST_NUMBER = 9999


@dataclass(frozen=True)
class LabelColumns:
    """Where a table says what an image shows: in `single`, or in one column a class."""

    single: str | None = None
    one_hot: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def columns(self) -> set[str]:
        """All columns that are labels."""
        return {name for name in (self.single, *self.one_hot, self.unknown) if name is not None}

    def notes(self, table: Table) -> list[str]:
        """Which columns were taken, where a person could have meant others."""
        if self.single is None:
            return [f"Classes of {table.name} are the columns {', '.join(self.one_hot)}."]
        others = [name for name in columns_for(LABEL, table.frame.columns, table=table.name) if name != self.single]
        rivals = f"; not used: {', '.join(others)}" if others else ""
        return [f"Classes of {table.name} come from the column {self.single}{rivals}."]


def find_labels(table: Table) -> LabelColumns | None:
    """The label columns of a table; None where it has none."""
    columns = table.frame.columns
    if single := columns_for(LABEL, columns, table=table.name):
        return LabelColumns(single=single[0])
    others = {name for what in COLUMN_NAMES for name in columns_for(what, columns, table=table.name)}
    others |= set(known_roles(columns))
    shares = [name for name in columns if name not in others and _holds_shares(table.frame[name])]
    unknown = next((name for name in shares if name.upper() in _UNKNOWN), None)
    classes = tuple(name for name in shares if name != unknown)
    return LabelColumns(one_hot=classes, unknown=unknown) if len(classes) > 1 else None


def _holds_shares(column: pl.Series) -> bool:
    """Whether every cell is a number from 0 to 1, true, or false; a few blank ones are a mistake to tell, not a no."""
    plain = column.replace(dict.fromkeys(_ONE, "1") | dict.fromkeys(_ZERO, "0"))
    numbers = plain.drop_nulls().cast(pl.Float64, strict=False)
    return len(numbers) > len(column) / 2 and not numbers.is_null().any() and bool(numbers.is_between(0, 1).all())


def read_labels(tables: Sequence[tuple[Table, LabelColumns]]) -> tuple[list[list[str | None]], tuple[str, ...]]:
    """The class of every row of every table (None where it is not known), and the classes.

    Classes stand in the order of the columns; those of a label column are sorted, whole numbers by size. Numbers that
    start at 0 count on to the largest, so that a class without images is seen.

    Raises:
        DataError: rows with no class or several, each by its line; tables that name their classes in different ways.
    """
    forms = {labels.one_hot or (labels.single or "").casefold() for _, labels in tables}
    if len(forms) > 1:
        raise DataError(
            "Tables of labels must have the same label columns. Got "
            f"{'; '.join(f'{table.name}: ' + ', '.join(sorted(labels.columns)) for table, labels in tables)}. "
            "Make them alike."
        )
    columns = [
        _one_hot(table, labels) if labels.single is None else _single(table.frame[labels.single])
        for table, labels in tables
    ]
    if one_hot := tables[0][1].one_hot:
        return columns, one_hot
    said = [name for column in columns for name in column if name is not None]
    if not said:
        raise DataError(f"A table must say what its images show. Got no label at all in {tables[0][0].name}.")
    if all(name.isdecimal() and int(name) <= _LARGEST_NUMBER for name in said):
        numbers = sorted({int(name) for name in said})
        classes = range(numbers[-1] + 1) if numbers[0] == 0 else numbers
        plain = [[None if name is None else str(int(name)) for name in column] for column in columns]
        require_classes([name for column in plain for name in column if name is not None])
        return plain, tuple(map(str, classes))
    return columns, require_classes(said)


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
            f"{table.where(rows.arg_true())}. Correct these rows or take them out."
        )


def no_labels_message(table: Table) -> str:
    """Why a table cannot be learned from."""
    return (
        f"A table of labels must have a column of classes ({known_names(LABEL)}) or one column of 0 and 1 a class. "
        f"Got {', '.join(table.frame.columns)} in {table.name}. Rename the column."
    )
