"""`read_dataset`: recognizes a layout, lets its reader read it, and finds out which images are the same.

It stands above the readers and not in their base file, so that readers import only downwards.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import polars as pl

from chiron.core.errors import DataError
from chiron.core.registry import leaf_names, load_leaf
from chiron.core.suggest import did_you_mean
from chiron.data.columns import columns_for, known_roles
from chiron.data.copies.pairs import CopyPair, ordered, with_verdicts
from chiron.data.copies.search import search_copies, searched_digest
from chiron.data.dicom_ids import with_dicom_ids
from chiron.data.identity import NOTES_OF_GROUPS, identify, join_groups, label_conflicts, require_one_label
from chiron.data.image_names import unnamed_dicom
from chiron.data.local_names import LOCAL_NAMES
from chiron.data.manifest import Manifest, is_manifest
from chiron.data.manifest_columns import ID_COLUMNS, Certainty, ColumnRole, label_columns_of
from chiron.data.readers._base import Reading, only_images
from chiron.data.readers._found import Found, image_root, look_at
from chiron.data.readers._images import ImageIndex
from chiron.data.readers._tables import UNSEEN, tables_by_use
from chiron.data.source import ImageSource
from chiron.spec.layout import Layout

_RECOGNIZED = Layout()
_NO_IDS = {
    "sample_id",
    "group_id",
    "path",
    "label",
    "split",
    "status",
    "status_reason",
    "bytes_sha256",
    "pixels_sha256",
    "look_hash",
}
READERS = "chiron.data.readers"
_UNUSED_IDS = "Columns that look like ids are carried and not used"
_LOOKS_LIKE_ID = re.compile(  # lesion_id, PatientID, "subject no"; a bare "study" or "case" may be something else
    r"(patient|lesion|subject|person|participant|pid|mrn)s?([ _-]?(id|uid|no|nr|num|number|code|key|name)s?)?"
    r"|(study|case|exam|visit|unit|group|donor|animal|nodule|tumou?r|eye)[ _-]?(id|uid|no|nr|num|number|code|key)",
    re.IGNORECASE,
)


__all__ = ["READERS", "has_several_labels", "image_root", "read_dataset"]


def read_dataset(
    path: str | Path, layout: Layout = _RECOGNIZED, *, conflicts: Literal["error", "note"] = "error"
) -> Manifest:
    """The manifest of a folder, zip, npz or table, or of a manifest that was written before; every image decoded once.

    Args:
        layout: what the files do not say themselves; with `table_only` no image is looked at.
        conflicts: identical images with different labels stop the reading, or are listed in the notes.
    Raises:
        DataError: nothing to read, a layout that fits no reader or several, an option that the reader does not have,
            a label conflict, or images that changed since the manifest was written.
    """
    path = Path(path)
    manifest = _reread(path, layout) if layout.reader is None and is_manifest(path) else _read(path, layout)
    if conflicts == "error":
        require_one_label(manifest.frame)
        return manifest
    listed = [f"Identical images with different labels: {conflict}" for conflict in label_conflicts(manifest.frame)]
    return replace(manifest, notes=(*manifest.notes, *listed))


def has_several_labels(path: str | Path, layout: Layout = _RECOGNIZED) -> bool:
    """Whether an image of the data can have several classes, by files and tables alone: no image is decoded.

    Raises:
        DataError: nothing to read, or a layout that fits no reader or several.
    """
    path = Path(path)
    if layout.reader is None and is_manifest(path):
        return Manifest.load(path).is_multi_label
    found, _, leaf = _found(path, layout)
    return "label" not in leaf.read(found, groups=layout.groups).frame.columns


def _found(path: Path, layout: Layout) -> tuple[Found, str, ModuleType]:
    """What lies at `path`, and the reader of its layout by name."""
    found = look_at(path, layout)
    if not found.names and not found.outside:
        raise DataError(f"A data set must hold images. Got no file at all in {path}. Check the path.")
    if layout.table_only and not found.tables:
        raise DataError(f"--table-only reads tables. Got none in {path}. Leave it out.")
    name = layout.reader or _recognize(found, path)
    leaf = load_leaf(READERS, name, kind="reader")
    if layout.groups is not None and layout.groups not in leaf.GROUPS:
        offered = ", ".join(leaf.GROUPS) or "none"
        raise DataError(
            f"The reader {name} must offer the grouping (it has: {offered}). Got {layout.groups!r}. "
            f"{did_you_mean(layout.groups, leaf.GROUPS) or 'Leave out --groups.'}"
        )
    return found, name, leaf


def _read(path: Path, layout: Layout) -> Manifest:
    found, name, leaf = _found(path, layout)
    reading = leaf.read(found, groups=layout.groups)
    if not layout.one_class:
        _require_two_classes(reading)
    if not layout.table_only:
        reading = with_dicom_ids(reading, found.source, layout.id_key)
    certainty, grouping = _group_by(reading.frame, layout, reading.id_certainty, reading.grouping)
    frame, searched = reading.frame, None
    copies: tuple[CopyPair, ...] = ()
    if layout.table_only:
        frame = _unseen(frame)
    else:
        identified = identify(found.source, frame)
        frame, searched = identified.frame, searched_digest(identified.frame)
        copies = search_copies(found.source, identified)
    frame, notes = join_groups(frame, list(certainty), copies)
    unused = _unused_id_notes(frame, certainty, reading.roles)
    return Manifest(
        frame=frame,
        classes=reading.classes,
        root=found.source.root,
        reader=name,
        roles=reading.roles,
        id_certainty=certainty,
        grouping=grouping,
        notes=(
            *_run_folder_notes(found.source),
            *reading.notes,
            *unused,
            *notes,
        ),
        copies=copies,
        copies_of=searched,
    )


def _require_two_classes(reading: Reading) -> None:
    """Stops where there is nothing to tell apart; images with several labels are told apart class by class."""
    if "label" not in reading.frame.columns:
        return
    labels = reading.frame["label"].drop_nulls()
    if labels.n_unique() == 1:
        raise DataError(
            f"A data set must hold at least two classes. Got one: {labels[0]} ({len(labels):,} images). "
            "Give the folder above the class folders, or choose another layout with --reader."
        )


def _unseen(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose images were not looked at."""
    return frame.with_columns(pl.lit(None, pl.String).alias("pixels_sha256"), pl.lit("ok").alias("status"))


def _group_by(
    frame: pl.DataFrame, layout: Layout, certainty: Mapping[str, Certainty], grouping: str
) -> tuple[dict[str, Certainty], str]:
    """How certain each id column is, and the sentence on groups, with the columns that a person groups by."""
    names = [_group_column(name, frame) for name in layout.group_by]
    added = [name for name in names if certainty.get(name) != "certain"]
    if not added:
        return dict(certainty), grouping
    said = f"{grouping.rstrip('.')}; also by {', '.join(added)}" if certainty else f"Grouped by {', '.join(added)}"
    return {**certainty, **dict.fromkeys(added, "certain")}, f"{said}, as asked for."


def _group_column(name: str, frame: pl.DataFrame) -> str:
    """The column that a person means: by its name here, or by the name that the data set gives an id."""
    allowed = [column for column in frame.columns if column not in _NO_IDS and not column.startswith("label_")]
    for column in (name, *(what for what in ("patient_id", "unit_id") if columns_for(what, [name], table=name))):
        if column in allowed:
            return column
    raise DataError(
        f"A column to group by must be one of {', '.join(allowed) or 'none here'}. Got {name!r}. "
        f"{did_you_mean(name, allowed)}".rstrip()
    )


def _recognize(found: Found, path: Path) -> str:
    """The one reader that matches most specifically."""
    readers: dict[str, ModuleType] = {name: load_leaf(READERS, name, kind="reader") for name in leaf_names(READERS)}
    scores = {name: leaf.match(found) for name, leaf in readers.items()}
    best = [name for name, score in scores.items() if score == max(scores.values()) > 0]
    if len(best) == 1:
        return best[0]
    got = f"a layout that fits {' and '.join(best)}" if best else f"an unknown one (files: {len(found.names):,})"
    why = "" if best else "".join(f"{reason}. " for reason in _why_not(found))
    advice = "" if best else ", or sort the images into <class>/ folders"
    raise DataError(
        f"The layout of a data set must fit one reader ({', '.join(readers)}). Got {got} in {path}. "
        f"{why}Choose one with --reader{advice}."
    )


def _why_not(found: Found) -> list[str]:
    """What is wrong with the tables of a layout that no reader takes."""
    labeled, further, unused = tables_by_use(found)
    told = [f"{said.name} has no column of classes ({', '.join(said.table.frame.columns)})" for said in further]
    told += [f"{said.name} names too few of the images ({len(said.ids):,})" for said in labeled]
    return [*told, *(f"Not used: {reason}" for reason in unused)]


def _reread(path: Path, layout: Layout) -> Manifest:
    """A manifest that was written before, with its images looked at again."""
    if layout.groups is not None:
        raise DataError(f"A manifest keeps its groups. Got --groups {layout.groups} for {path}. Read the data again.")
    if layout.metadata is not None or layout.table_only:
        option = "--table-only" if layout.table_only else "--metadata"
        raise DataError(f"A manifest is read as it is. Got {option} for {path}. Leave it out.")
    manifest = Manifest.load(path, layout.images)
    if not manifest.roles:
        manifest = replace(manifest, roles=known_roles(set(manifest.frame.columns) - {*ID_COLUMNS, *_NO_IDS}))
    source = ImageSource(manifest.root)
    if not _has_facts(path):
        manifest = _with_dicom_ids(manifest, source, layout)
    certainty, grouping = _group_by(manifest.frame, layout, manifest.id_certainty, manifest.grouping)
    manifest = replace(manifest, id_certainty=certainty, grouping=grouping)
    before = manifest.frame
    before = _found_again(before, source)
    expected = before.filter(pl.col("status") == "ok")["path"]
    if missing := sorted(set(expected) - set(source.names())):
        if manifest.root.name == LOCAL_NAMES:
            raise DataError(
                f"Every image of a private manifest must be where {manifest.root} says. Got {len(missing):,} of "
                f"{len(expected):,} that are not. Put them back, or correct its column root where they moved."
            )
        raise DataError(
            f"Every image of a manifest must be in {manifest.root}. Got {len(missing):,} that are not: "
            f"{', '.join(missing[:5])}. Put them back, or change root in manifest.json."
        )
    identified = identify(source, before)
    frame = _still_excluded(identified.frame, before)
    changed = before.filter(
        before["pixels_sha256"].is_not_null() & before["pixels_sha256"].ne_missing(frame["pixels_sha256"])
    )["path"]
    if len(changed):
        raise DataError(
            f"Images must be those that the manifest was written for. Got {len(changed):,} with other pixels: "
            f"{', '.join(changed.head(5))}. Put them back, or read the data set again."
        )
    copies, searched = manifest.copies, searched_digest(frame)
    if searched != manifest.copies_of:
        copies = with_verdicts(search_copies(source, identified), copies)
    # The group_id of a manifest holds what Chiron joined; a person who parts two images parts it as well.
    parted = manifest.copies_of is not None and any(pair.verdict == "different" for pair in copies)
    frame, notes = join_groups(frame, [*manifest.id_certainty, *([] if parted else ["group_id"])], copies)
    # Columns may have got other names, and images are looked at now.
    kept = [note for note in manifest.notes if not note.startswith((_UNUSED_IDS, UNSEEN, *NOTES_OF_GROUPS))]
    unused = _unused_id_notes(frame, manifest.id_certainty, manifest.roles)
    notes = list(dict.fromkeys((*kept, *unused, *notes)))
    return replace(manifest, frame=frame, notes=tuple(notes), copies=copies, copies_of=searched)


def _still_excluded(frame: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """What was left out on purpose stays out, though its image can be read."""
    excluded = before["status"] == "excluded"
    return frame.with_columns(
        pl.when(excluded).then(before[name]).otherwise(pl.col(name)).alias(name) for name in ("status", "status_reason")
    )


def _has_facts(path: Path) -> bool:
    """Whether Chiron wrote the manifest, and so has read the headers of its images."""
    table = path / "manifest.csv" if path.is_dir() else path
    return table.with_suffix(".json").is_file()


def _with_dicom_ids(manifest: Manifest, source: ImageSource, layout: Layout) -> Manifest:
    """A table that a person wrote, with what the headers of its DICOM images say; other tables stay as they are."""
    said = Reading(
        frame=manifest.frame,
        classes=manifest.classes,
        grouping=manifest.grouping,
        roles=manifest.roles,
        id_certainty=manifest.id_certainty,
        notes=manifest.notes,
    )
    read = with_dicom_ids(said, source, layout.id_key)
    if read is said:
        return manifest
    names = dict(zip(manifest.frame["sample_id"], read.frame["sample_id"], strict=True))
    pairs = (replace(pair, sample_ids=ordered(*(names[name] for name in pair.sample_ids))) for pair in manifest.copies)
    return replace(
        manifest,
        frame=read.frame,
        roles=read.roles,
        id_certainty=read.id_certainty,
        grouping=read.grouping,
        notes=read.notes,
        copies=tuple(pairs),
    )


def _found_again(frame: pl.DataFrame, source: ImageSource) -> pl.DataFrame:
    """`frame` with the paths of images that were not there when a table was read alone, where they are there now."""
    names = set(source.names())
    paths = frame["path"].to_list()
    unseen = [
        row
        for row, (path, status, seen) in enumerate(frame.select("path", "status", "pixels_sha256").iter_rows())
        if status == "ok" and seen is None and path not in names
    ]
    if not unseen:
        return frame
    index = ImageIndex(only_images(sorted(names), unnamed_dicom(source, sorted(names)))[0], source.root)
    for row in unseen:
        fitting = index.fitting(paths[row], other_ending=True)  # the table did not say which ending
        paths[row] = fitting[0] if len(fitting) == 1 else paths[row]
    return frame.with_columns(pl.Series("path", paths, pl.String))


def _run_folder_notes(source: ImageSource) -> list[str]:
    runs = source.run_folders()
    return [f"Folders of trainings inside the data are skipped: {len(runs):,} ({_some(runs)})."] if runs else []


def _unused_id_notes(
    frame: pl.DataFrame, certainty: Mapping[str, Certainty], roles: Mapping[str, ColumnRole]
) -> list[str]:
    """Names carried columns that look like ids: unused, they let a patient stand in two splits unseen."""
    used = {*ID_COLUMNS, *label_columns_of(frame.columns), *certainty, *roles}
    unused = [
        name
        for name in frame.columns
        if name not in used and _LOOKS_LIKE_ID.fullmatch(name) and frame[name].null_count() < frame.height
    ]
    advice = "Name it with --group-by, or call it patient_id or unit_id, so that images of equal ids stay together."
    return [f"{_UNUSED_IDS}: {_some(unused)}. {advice}"] if unused else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
