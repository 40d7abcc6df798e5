"""Tables of labels, further tables joined to them, and the images they name: one reading for several readers."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError
from chiron.data.columns import known_roles
from chiron.data.manifest_columns import SPLIT_FOLDERS, Certainty, label_columns_of
from chiron.data.readers._base import Reading, only_images
from chiron.data.readers._found import Found
from chiron.data.readers._images import ImageIndex, expected_path, find_images, num_named, plain_id, short_names
from chiron.data.readers._labels import no_labels_message, read_labels
from chiron.data.readers._said import KINDS, Said, read_said

# A table called train.csv, val_split.csv or test-labels.csv holds the images of that split.
_SPLIT_TABLE = re.compile(rf"({'|'.join(SPLIT_FOLDERS)})([ _-]?(split|set|labels?|csv|data|df))?", re.IGNORECASE)
_ALONE = "Every image is its own group; patients unknown, so intervals may still be too narrow."
UNSEEN = "Images were not looked at (table only)"
_MOST_NAMED = 5


@lru_cache(maxsize=1)  # readers that look whether they fit, and the one that reads, ask for the same
def tables_by_use(found: Found) -> tuple[tuple[Said, ...], tuple[Said, ...], tuple[str, ...]]:
    """Tables of labels, tables of further columns, and why others are not used.

    Raises:
        DataError: a table that a person named is none, or names no images.
    """
    labeled: list[Said] = []
    further: list[Said] = []
    unused: list[str] = []
    for name in found.tables:
        try:
            said = read_said(found.table(name), found.index, may_label=name != found.metadata, kind=found.labels)
        except DataError as error:
            if name in found.outside:
                raise
            unused.append(f"{name} ({str(error).split('. ')[0]})")
            continue
        if name not in found.outside and found.images and not num_named(said.ids, found.index):
            unused.append(f"{name} (names no image here: {said.ids[0]}, ...)")
        else:
            (further if said.labels is None else labeled).append(said)
    return tuple(labeled), tuple(further), tuple(unused)


def speak_for_the_images(labeled: Sequence[Said], found: Found) -> bool:
    """Whether tables of labels name most of the images, so that folders need not be asked."""
    return not found.images or 2 * sum(num_named(said.ids, found.index) for said in labeled) >= len(found.images)


def read_tables(found: Found) -> Reading:
    """One row for every row of the label tables, with the columns of all tables and the path of its image.

    Raises:
        DataError: no label table or several that are not called by splits; rows without an image id; ids that stand
            twice; labels that are none; no image at all, or ids that fit several images; tables that contradict each
            other or the folders of the images.
    """
    images, skipped = only_images([name for name in found.names if name not in found.tables], found.unnamed)
    index = found.index
    all_labeled, further, unused = tables_by_use(found)
    labeled, left_out = _label_tables(all_labeled, further, unused, found)
    labels, classes, told = read_labels([(said.table, said.labels) for said in labeled if said.labels is not None])
    parts = [
        said.frame.with_columns(
            *columns,
            *([pl.lit(_split_of(said.name)).alias("split")] if len(labeled) > 1 and "split" not in said.frame else []),
            pl.Series("_where", [said.table.where([row]) for row in range(len(said.ids))], pl.String),
        )
        for said, columns in zip(labeled, labels, strict=True)
    ]
    frame = pl.concat(parts, how="diagonal")
    _refuse_repeated(frame)
    frame, placed = _place(frame, images, index, found)
    notes = [note for said in labeled for note in said.notes] + told + placed
    frame, joined = join_tables(frame, further, index, table_only=found.table_only)
    if "label" in frame.columns:
        _refuse_contradicting_folders(frame, classes)
    frame = frame.with_columns(pl.Series("sample_id", short_names(frame["sample_id"].to_list()), pl.String))
    if unlabeled := frame.select(pl.all_horizontal(pl.col(label_columns_of(frame.columns)).is_null())).sum().item():
        notes.append(f"Images without a known class: {unlabeled:,}. They stay in the tables and are not learned from.")
    if [*unused, *left_out]:
        notes.append(f"Tables that are not used: {'; '.join([*unused, *left_out])}.")
    if found.beside:
        notes.append(f"Tables beside it that are not read: {_some(found.beside)}. Join one with --metadata.")
    frame, certainty, counted = with_ids(frame)
    return Reading(
        frame=frame.drop("_where"),
        classes=classes,
        grouping=grouping_of(certainty),
        roles=known_roles(frame.columns),
        id_certainty=certainty,
        notes=(*skipped, *notes, *joined, *counted),
    )


def _label_tables(
    labeled: Sequence[Said], further: Sequence[Said], unused: Sequence[str], found: Found
) -> tuple[Sequence[Said], list[str]]:
    """The one table of labels, or those of the splits where there are several."""
    if not labeled:
        if further:
            raise DataError(no_labels_message(further[0].table))
        why = f" Not used: {'; '.join(unused)}." if unused else ""
        raise DataError(
            f"A table of labels must be there. Got none in {found.source.root}.{why} Give it as the data path."
        )
    if len(labeled) == 1:
        return labeled, []
    by_split = sorted((said for said in labeled if _split_of(said.name)), key=lambda said: said.name)
    if len({_split_of(said.name) for said in by_split}) == len(by_split) > 1:
        return by_split, [said.name for said in labeled if not _split_of(said.name)]
    raise DataError(
        f"There must be one table of labels, or one a split (train.csv, val.csv, test.csv). "
        f"Got {_some([said.name for said in labeled])}. Give one of them as the data path."
    )


def _split_of(name: str) -> str | None:
    """The split that a table is called by."""
    found = _SPLIT_TABLE.fullmatch(PurePosixPath(name).stem)
    return SPLIT_FOLDERS[found[1].lower()] if found else None


def _refuse_repeated(frame: pl.DataFrame) -> None:
    repeated = frame.filter(frame["sample_id"].is_duplicated())
    if repeated.height:
        first = repeated["sample_id"][0]
        places = repeated.filter(pl.col("sample_id") == first)["_where"]
        raise DataError(f"Every image must stand in one row. Got {first} in {' and '.join(places)}. Remove one.")


def _place(
    frame: pl.DataFrame, images: Sequence[str], index: ImageIndex, found: Found
) -> tuple[pl.DataFrame, list[str]]:
    """`frame` with the path of each image: in `_found` where it is there; a missing one gets the path it would have."""
    ids = frame["sample_id"].to_list()
    paths, notes = find_images(ids, index) if "path" not in frame.columns else _by_path(frame, index)
    said = frame["path"].fill_null(frame["sample_id"]).to_list() if "path" in frame.columns else ids
    expected = [path or expected_path(place) for place, path in zip(said, paths, strict=True)]
    frame = frame.with_columns(pl.Series("path", expected, pl.String), pl.Series("_found", paths, pl.String))
    if found.table_only:
        return frame, [f"{UNSEEN}: copies, broken and missing files are not known."]
    missing = [name for name, path in zip(ids, paths, strict=True) if path is None]
    if len(missing) == len(ids):
        raise DataError(
            f"The images of a table must lie in {found.source.root}. Got none of {len(ids):,} (first: {ids[0]}) among "
            f"{len(images):,} images there{f' (first: {images[0]})' if images else ''}. "
            "Say where they are with --images, or read the table with --table-only."
        )
    if missing:
        notes.append(f"Images that a table names and that are not there: {len(missing):,} ({_some(missing)}).")
    if strangers := len(images) - len(set(paths) - {None}):
        notes.append(f"Images that no table names are left out: {strangers:,}.")
    return frame, notes


def _by_path(frame: pl.DataFrame, index: ImageIndex) -> tuple[list[str | None], list[str]]:
    """The image of every row by its path column; an id that is the name of another image is refused."""
    said = frame["path"].fill_null(frame["sample_id"]).to_list()
    paths, notes = find_images(said, index)
    for row, (name, path) in enumerate(zip(frame["sample_id"], paths, strict=True)):
        fitting = index.fitting(name)
        if path is None and len(fitting) == 1:
            paths[row] = fitting[0]
        elif path is not None and fitting and path not in fitting:
            raise DataError(
                f"A row must name one image. Got {name} and {path} in {frame['_where'][row]}. Correct one of the two."
            )
    return paths, notes


def join_tables(
    frame: pl.DataFrame, further: Sequence[Said], index: ImageIndex, *, table_only: bool
) -> tuple[pl.DataFrame, list[str]]:
    """`frame` (with sample_id, and `_found`, the path of each image that is there) with the columns of further tables.

    Where two tables fill the same column the first one's value stands, and blanks are filled.

    Raises:
        DataError: a table about other images, or one that contradicts a patient, lesion, group or split.
    """
    notes: list[str] = []
    for said in further:
        here, there = frame["sample_id"].to_list(), said.ids
        if table_only:
            here, there = ([plain_id(name) for name in ids] for ids in (here, there))
        else:
            here = _keys(here, frame["_found"].to_list())
            there = _keys(there, find_images(there, index)[0])
        bare = any(all("/" not in key for key in keys) for keys in (here, there))
        if bare and not set(here) & set(there):  # folders stand in one of the two tables only
            here, there = ([PurePosixPath(key).name for key in keys] for keys in (here, there))
        if len(set(there)) < len(there) or not set(here) & set(there):
            raise DataError(
                f"A second table must speak of the same images, of each once. Got none of them, or one in two rows, in "
                f"{said.name} (first id there {said.ids[0]!r}, here {frame['sample_id'][0]!r}). Write them alike."
            )
        columns = said.frame.drop("sample_id").with_columns(pl.Series("_key", there, pl.String))
        frame = frame.with_columns(pl.Series("_key", here, pl.String))
        frame = frame.join(columns, on="_key", how="left", maintain_order="left", suffix="_more").drop("_key")
        for name in [name for name in columns.columns if f"{name}_more" in frame.columns]:
            frame, told = _fill(frame, name, said.name)
            notes += told
        notes += said.notes
        matched = len(set(here) & set(there))
        if lacking := len(here) - matched:
            notes.append(f"Images that {said.name} does not name: {lacking:,}.")
        if unused := len(there) - matched:
            notes.append(f"Rows of {said.name} about other images: {unused:,}.")
    return frame.drop("_found"), notes


def _keys(ids: Sequence[str], paths: Sequence[str | None]) -> list[str]:
    """What an image is called in every table alike: its path where it is there, else its plain id."""
    return [f"at {path}" if path else plain_id(name) for name, path in zip(ids, paths, strict=True)]


def _fill(frame: pl.DataFrame, name: str, table: str) -> tuple[pl.DataFrame, list[str]]:
    more = f"{name}_more"
    differ = frame.filter(pl.col(name) != pl.col(more))
    notes = []
    if differ.height:
        row = differ.row(0, named=True)
        if name in (*KINDS, "split"):
            raise DataError(
                f"Tables must not contradict each other. Got {name} {row[name]!r} and {row[more]!r} (in {table}) for "
                f"{row['sample_id']}. Correct one."
            )
        notes.append(f"The column {name} differs in {table} for {differ.height:,} images; the first table's stands.")
    return frame.with_columns(pl.coalesce(name, more).alias(name)).drop(more), notes


def _refuse_contradicting_folders(frame: pl.DataFrame, classes: Sequence[str]) -> None:
    """Stops where images lie in folders called like the classes, and the table says something else."""
    folders = [PurePosixPath(path).parent.name.casefold() for path in frame["path"]]
    names = {name.casefold() for name in classes}
    said = [None if label is None else label.casefold() for label in frame["label"]]
    inside = sum(folder in names for folder in folders)
    torn = [
        path
        for path, folder, label in zip(frame["path"], folders, said, strict=True)
        if folder in names and label is not None and folder != label
    ]
    if torn and inside == len(folders):
        raise DataError(
            f"Folders called like the classes and a table must say the same. Got {len(torn):,} images that the table "
            f"calls otherwise: {_some(torn)}. Correct one of the two, or leave the table out."
        )


def with_ids(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Certainty], list[str]]:
    """`frame`, its id columns, which are certain, and how many different ids there are.

    Lesions that are numbered within each patient get the patient's id in front.
    """
    told: list[str] = []
    ids = [name for name in KINDS if name in frame.columns and frame[name].null_count() < frame.height]
    if {"patient_id", "unit_id"} <= set(ids):
        units = frame.drop_nulls(["patient_id", "unit_id"]).group_by("unit_id")
        counted = units.agg(pl.len().alias("images"), pl.col("patient_id").n_unique().alias("patients"))
        shared, several = (counted.filter(pl.col(name) > 1).height for name in ("patients", "images"))
        if shared and 2 * shared >= several:
            whole = pl.concat_str("patient_id", pl.lit("/"), "unit_id")
            frame = frame.with_columns(pl.coalesce(whole, "unit_id").alias("unit_id"))
            told.append(f"Lesion ids start anew with each patient ({shared:,} are shared): taken together with it.")
        elif shared:
            told.append(f"Lesion ids that stand under several patients, which joins these: {shared:,}.")
    for name in ids:
        blank = frame[name].null_count()
        counts = f"{KINDS[name].capitalize()}s: {frame[name].drop_nulls().n_unique():,}"
        told.append(counts + (f"; {blank:,} images without one." if blank else "."))
    return frame, dict.fromkeys(ids, "certain"), told


def grouping_of(ids: Sequence[str] | dict[str, Certainty]) -> str:
    """The sentence on groups."""
    if not ids:
        return _ALONE
    unreached = "" if "patient_id" in ids else "; patients unknown, so intervals may still be too narrow"
    return f"Grouped by {' and '.join(KINDS[name] for name in ids)}{unreached}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (f", ... ({len(names):,})" if len(names) > _MOST_NAMED else "")
