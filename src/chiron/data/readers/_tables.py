"""Tables of labels, metadata joined to them, and the images they name: one reading of all. Several readers use it."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError
from chiron.data.columns import IMAGE, SPLIT, column_for, known_names, known_roles
from chiron.data.readers._base import Reading, only_images
from chiron.data.readers._found import Found
from chiron.data.readers._images import expected_path, find_images, names_one_of, short_names
from chiron.data.readers._labels import LabelColumns, find_labels, no_labels_message, read_labels
from chiron.data.source import SPLIT_FOLDERS
from chiron.data.tables import Table

# A table called train.csv, val_split.csv or test-labels.csv holds the images of that split.
_SPLIT_TABLE = re.compile(rf"({'|'.join(SPLIT_FOLDERS)})([ _-]?(split|set|labels?|csv|data|df))?", re.IGNORECASE)
# Columns that a manifest fills in itself: of a foreign table they are carried under another name.
_OURS = {"sample_id", "label", "split", "status", "status_reason", "bytes_sha256", "pixels_sha256"}
_MOST_NAMED = 5
KINDS = {"patient_id": "patient", "unit_id": "lesion", "group_id": "group"}


def tables_by_use(found: Found) -> tuple[list[tuple[Table, LabelColumns]], list[Table], list[str]]:
    """Tables of labels, tables of further columns, and names of tables that speak of no image.

    Raises:
        DataError: a table that a person named is none, or names no images.
    """
    labeled, further, others = [], [], []
    for name in found.tables:
        table = _table_or_none(found, name)
        if table is None:
            others.append(name)
        elif labels := find_labels(table):
            labeled.append((table, labels))
        else:
            further.append(table)
    return labeled, further, others


def _table_or_none(found: Found, name: str) -> Table | None:
    """A table that lies among the images may be anything; one that a person named must be right."""
    try:
        table = found.table(name)
        _image_column(table)
    except DataError:
        if name in found.outside:
            raise
        return None
    return table


def _image_column(table: Table) -> str:
    """The column that names the images."""
    column = column_for(IMAGE, table.frame.columns, table=table.name)
    if column is None:
        raise DataError(
            f"A table must have a column that names the images ({known_names(IMAGE)}). "
            f"Got {', '.join(table.frame.columns)} in {table.name}. Rename the column."
        )
    return column


def names_images(table: Table, found: Found) -> bool:
    """Whether a table speaks of this source: it names one of its images, or there is none to be named."""
    images, ids = only_images(found.names)[0], table.frame[_image_column(table)]
    if found.table_only or not images:
        return True
    return names_one_of(ids.drop_nulls().to_list(), images)


def read_tables(found: Found) -> Reading:
    """One row for every row of the label tables, with the columns of all tables and the path of its image.

    Raises:
        DataError: no label table or several that are not called by splits; rows without an image id; ids that stand
            twice; labels that are none; no image at all, or ids that fit several images.
    """
    labeled, further, others = tables_by_use(found)
    labeled, left_out = _label_tables(labeled, further, found)
    labels, classes = read_labels(labeled)
    splits = [_split_of(table.name) if len(labeled) > 1 else None for table, _ in labeled]
    frame = pl.concat(
        [
            _label_part(table, columns, label, split)
            for (table, columns), label, split in zip(labeled, labels, splits, strict=True)
        ],
        how="diagonal",
    )
    _refuse_repeated(frame, [table for table, _ in labeled])
    notes = [f"Tables that are not used: {_some([*others, *left_out])}."] if [*others, *left_out] else []
    for table in further:
        frame, more = _join(frame, table)
        notes += more
    frame, placed = _place(frame, found)
    frame, certain, told = _with_ids(frame)
    unlabeled = frame["label"].null_count()
    if unlabeled:
        notes.append(f"Images without a known class: {unlabeled:,}. They stay in the tables and are not learned from.")
    return Reading(
        frame=frame.drop("_table", "_row"),
        classes=classes,
        grouping=_grouping(certain),
        roles=known_roles(name for name in frame.columns if name not in (*_OURS, *KINDS, "path")),
        id_certainty=dict.fromkeys(certain, "certain"),
        notes=(*notes, *placed, *told),
    )


def _label_tables(
    labeled: list[tuple[Table, LabelColumns]], further: Sequence[Table], found: Found
) -> tuple[list[tuple[Table, LabelColumns]], list[str]]:
    """The one table of labels, or those of the splits where there are several."""
    if not labeled:
        if further:
            raise DataError(no_labels_message(further[0]))
        raise DataError(f"A table of labels must be there. Got none in {found.source.root}. Give it as the data path.")
    if len(labeled) == 1:
        return labeled, []
    by_split = [(table, columns) for table, columns in labeled if _split_of(table.name)]
    if len({_split_of(table.name) for table, _ in by_split}) == len(by_split) > 1:
        return by_split, [table.name for table, _ in labeled if not _split_of(table.name)]
    raise DataError(
        f"There must be one table of labels, or one a split (train.csv, val.csv, test.csv). "
        f"Got {_some([table.name for table, _ in labeled])}. Give one of them as the data path."
    )


def _split_of(name: str) -> str | None:
    """The split that a table is called by."""
    found = _SPLIT_TABLE.fullmatch(PurePosixPath(name).stem)
    return SPLIT_FOLDERS[found[1].lower()] if found else None


def _label_part(table: Table, columns: LabelColumns, label: list[str | None], split: str | None) -> pl.DataFrame:
    """The rows of one table of labels: sample_id, label, split, and all columns that are none of these."""
    image = _image_column(table)
    split_column = column_for(SPLIT, table.frame.columns, table=table.name)
    blank = table.frame[image].is_null()
    if blank.any():
        raise DataError(f"Every row must name its image. Got none in {table.where(blank.arg_true())}. Fill {image} in.")
    used = {image, split_column, columns.single, *columns.one_hot, columns.unknown}
    splits = [split] * table.frame.height if split_column is None else _splits(table, split_column)
    return pl.DataFrame(
        {"sample_id": table.frame[image], "label": label, "split": splits},
        schema_overrides={"label": pl.String, "split": pl.String},
    ).with_columns(
        pl.lit(table.name).alias("_table"),
        pl.int_range(pl.len()).alias("_row"),
        *[_carried(table.frame[name]) for name in table.frame.columns if name not in used],
    )


def _carried(column: pl.Series) -> pl.Series:
    return column.alias(f"{column.name}_given") if column.name in (*_OURS, "_table", "_row") else column


def _splits(table: Table, column: str) -> list[str | None]:
    said = table.frame[column].str.to_lowercase()
    strange = said.is_not_null() & ~said.is_in(list(SPLIT_FOLDERS))
    if strange.any():
        raise DataError(
            f"The column {column} must hold {', '.join(SPLIT_FOLDERS)} or nothing. "
            f"Got {table.frame[column].filter(strange)[0]!r} in {table.where(strange.arg_true())}. Rename it."
        )
    return [None if name is None else SPLIT_FOLDERS[name] for name in said]


def _refuse_repeated(frame: pl.DataFrame, tables: Sequence[Table]) -> None:
    by_name = {table.name: table for table in tables}
    repeated = frame.filter(frame["sample_id"].is_duplicated())
    if not repeated.height:
        return
    first = repeated["sample_id"][0]
    rows = repeated.filter(pl.col("sample_id") == first).select("_table", "_row").iter_rows()
    places = " and ".join(by_name[name].where([row]) for name, row in rows)
    count = repeated["sample_id"].n_unique()
    more = f" and {count - 1:,} more" if count > 1 else ""
    raise DataError(f"Every image must stand in one row. Got {first} in {places}{more}. Remove the repeated rows.")


def _join(frame: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, list[str]]:
    """`frame` with the further columns of a table, by image id."""
    image = _image_column(table)
    columns = table.frame.select(table.frame[image].alias("sample_id"), *[_carried(c) for c in table.frame.drop(image)])
    repeated = columns["sample_id"].is_duplicated() & columns["sample_id"].is_not_null()
    if repeated.any():
        first = columns["sample_id"].filter(repeated)[0]
        raise DataError(
            f"Every image must stand in one row of a table. Got {first} in "
            f"{table.where((columns['sample_id'] == first).arg_true())}. Remove the repeated rows."
        )
    clash = sorted(set(columns.columns) & set(frame.columns) - {"sample_id"})
    columns = columns.drop(clash)
    matched = frame["sample_id"].is_in(columns["sample_id"].drop_nulls().to_list())
    if not matched.any():
        raise DataError(
            f"A second table must speak of the same images. Got none of them in {table.name} "
            f"(first id there {columns['sample_id'][0]!r}, in the table of labels {frame['sample_id'][0]!r})."
        )
    notes = [f"Columns that stand in two tables, taken from the first: {_some(clash)}."] if clash else []
    if lacking := int((~matched).sum()):
        notes.append(f"Images that {table.name} does not name: {lacking:,}.")
    if unused := columns.height - int(matched.sum()):
        notes.append(f"Rows of {table.name} about other images: {unused:,}.")
    return frame.join(columns, on="sample_id", how="left", maintain_order="left"), notes


def _place(frame: pl.DataFrame, found: Found) -> tuple[pl.DataFrame, list[str]]:
    """`frame` with the path of every image; one that is not there keeps the path it would have."""
    ids = frame["sample_id"].to_list()
    images, skipped = only_images([name for name in found.names if name not in found.tables])
    places = frame["path"].fill_null(frame["sample_id"]).to_list() if "path" in frame.columns else ids
    paths = find_images(places, images)
    missing = [name for name, path in zip(ids, paths, strict=True) if path is None]
    expected = [path or expected_path(name) for name, path in zip(ids, paths, strict=True)]
    named = frame.with_columns(
        pl.Series("path", expected, pl.String), pl.Series("sample_id", short_names(ids), pl.String)
    )
    if found.table_only:
        return named, ["Images were not looked at (table only): copies, broken and missing files are not known."]
    if len(missing) == len(ids):
        raise DataError(
            f"The images of a table must lie in {found.source.root}. Got none of {len(ids):,} (first: {ids[0]}) among "
            f"{len(images):,} images there. Say where they are with --images, or read the table with --table-only."
        )
    notes = list(skipped)
    if missing:
        notes.append(f"Images that a table names and that are not there: {len(missing):,} ({_some(missing)}).")
    if strangers := len(images) - len(set(paths) - {None}):
        notes.append(f"Images that no table names are left out: {strangers:,}.")
    return named, notes


def _with_ids(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str], list[str]]:
    """`frame` with patient_id and unit_id under these names, which of them there are, and their counts."""
    certain, told = [], []
    for name, kind in KINDS.items():
        column = column_for(name, [c for c in frame.columns if not c.startswith("_")], table="the tables")
        if column is None or frame[column].null_count() == frame.height:
            continue
        frame = frame.rename({column: name})
        certain.append(name)
        blank = frame[name].null_count()
        told.append(
            f"{kind.capitalize()}s (column {column}): {frame[name].drop_nulls().n_unique():,}"
            + (f"; {blank:,} images without one." if blank else ".")
        )
    return frame, certain, told


def _grouping(certain: Sequence[str]) -> str:
    if not certain:
        return "Every image is its own group; patients unknown, so intervals may still be too narrow."
    unreached = "" if "patient_id" in certain else "; patients unknown, so intervals may still be too narrow"
    return f"Grouped by {' and '.join(KINDS[name] for name in certain)}{unreached}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (f", ... ({len(names):,})" if len(names) > _MOST_NAMED else "")
