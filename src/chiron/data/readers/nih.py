"""NIH ChestX-ray14: `Data_Entry_2017.csv`, whose cells name all findings of an image, and lists of images by split.

Source: Wang et al. 2017, arXiv:1705.02315. "No Finding" says that none of the classes is there. `train_val_list.txt` is
train, from which val is carved; `test_list.txt` is test. No patient stands in both.
"""

from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError
from chiron.data.readers._base import NO_MATCH, SPECIFIC, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import read_tables
from chiron.data.tables import Table

GROUPS: dict[str, str] = {}
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def match(found: Found) -> int:
    """Specific: a table with the columns of this data set."""
    return NO_MATCH if _table(found) is None else SPECIFIC


def read(found: Found, *, groups: str | None = None) -> Reading:
    """One row an image, grouped by patient.

    Raises:
        DataError: no such table, an image in two lists, or a mistake of any table.
    """
    table = _table(found)
    if table is None:
        raise DataError(
            f"ChestX-ray14 comes with a table with the columns {', '.join(_COLUMNS)}. "
            f"Got none in {found.source.root}. Leave out --reader nih."
        )
    splits, notes = _listed_splits(found, table)
    if splits is not None:
        table = Table(table.name, table.frame.with_columns(pl.Series("split", splits, pl.String)), table.lines)
    reading = read_tables(found.with_tables({table.name: table}, labels="multi"))
    return Reading(
        frame=reading.frame,
        classes=reading.classes,
        grouping=reading.grouping,
        roles=reading.roles,
        id_certainty=reading.id_certainty,
        notes=(*reading.notes, *notes),
    )


def _table(found: Found) -> Table | None:
    for name in found.tables:
        try:
            table = found.table(name)
        except DataError:
            continue
        if set(_COLUMNS) <= set(table.frame.columns):
            return table
    return None


def _listed_splits(found: Found, table: Table) -> tuple[list[str | None] | None, list[str]]:
    """The split of every row from the lists beside the images; None without any list."""
    split_of: dict[str, str] = {}
    used = []
    for name in sorted(found.source.names()):
        split = _LISTS.get(PurePosixPath(name).name)
        if split is None:
            continue
        used.append(PurePosixPath(name).name)
        for image in found.source.read_bytes(name).decode("utf-8-sig").split():
            if split_of.setdefault(image, split) != split:
                raise DataError(f"An image must stand in one list. Got {image} in both. Take it out of one of them.")
    if not used:
        return None, []
    images = table.frame["Image Index"].to_list()
    unlisted = sum(image not in split_of for image in images)
    notes = [f"Splits come from {' and '.join(sorted(used))}."]
    notes += [f"Images that stand in no list: {unlisted:,}."] if unlisted else []
    return [split_of.get(image) for image in images], notes
