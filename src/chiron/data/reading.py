"""`read_dataset`: recognizes a layout, lets its reader read it, and finds out which images are the same.

It stands above the readers and not in their base file, so that readers import only downwards.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Literal

from chiron.core.errors import DataError
from chiron.core.registry import leaf_names, load_leaf
from chiron.core.suggest import did_you_mean
from chiron.data.identity import identify, join_groups, label_conflicts, require_one_label
from chiron.data.manifest import ID_COLUMNS, Manifest, is_manifest
from chiron.data.source import ImageSource

READERS = "chiron.data.readers"
_UNUSED_IDS = "Columns that look like ids are carried and not used"
_LOOKS_LIKE_ID = re.compile(  # lesion_id, PatientID, "subject no"; a bare "study" or "case" may be something else
    r"(patient|lesion|subject|person|participant|pid|mrn)s?([ _-]?(id|uid|no|nr|num|number|code|key|name)s?)?"
    r"|(study|case|exam|visit|unit|group|donor|animal|nodule|tumou?r|eye)[ _-]?(id|uid|no|nr|num|number|code|key)",
    re.IGNORECASE,
)


def read_dataset(
    path: str | Path,
    *,
    reader: str | None = None,
    groups: str | None = None,
    conflicts: Literal["error", "note"] = "error",
) -> Manifest:
    """The manifest of a folder, zip, npz, or of a manifest that was written before; every image was decoded once.

    Args:
        reader: the layout, where it should not be recognized.
        groups: another reading of the group ids, where the reader offers one.
        conflicts: identical images with different labels stop the reading, or are listed in the notes.
    Raises:
        DataError: nothing to read, a layout that fits no reader or several, an option that the reader does not have,
            a label conflict, or images that changed since the manifest was written.
    """
    path = Path(path)
    if reader is None and is_manifest(path):
        manifest = _reread(path, groups)
    else:
        manifest = _read(ImageSource(path), reader, groups)
    if conflicts == "error":
        require_one_label(manifest.frame)
        return manifest
    listed = [f"Identical images with different labels: {conflict}" for conflict in label_conflicts(manifest.frame)]
    return replace(manifest, notes=(*manifest.notes, *listed))


def _read(source: ImageSource, reader: str | None, groups: str | None) -> Manifest:
    names = source.names()
    if not names:
        raise DataError(f"A data set must hold images. Got no file at all in {source.root}. Check the path.")
    name = reader or _recognize(source, names)
    leaf = load_leaf(READERS, name, kind="reader")
    if groups is not None and groups not in leaf.GROUPS:
        offered = ", ".join(leaf.GROUPS) or "none"
        raise DataError(
            f"The reader {name} must offer the grouping (it has: {offered}). Got {groups!r}. "
            f"{did_you_mean(groups, leaf.GROUPS) or 'Leave out --groups.'}"
        )
    reading = leaf.read(source, names, groups=groups)
    frame, notes = join_groups(identify(source, reading.frame), list(reading.id_certainty))
    return Manifest(
        frame=frame,
        classes=reading.classes,
        root=source.root,
        reader=name,
        roles=reading.roles,
        id_certainty=reading.id_certainty,
        grouping=reading.grouping,
        notes=(*_run_folder_notes(source), *reading.notes, *notes),
    )


def _recognize(source: ImageSource, names: Sequence[str]) -> str:
    """The one reader that matches most specifically."""
    readers: dict[str, ModuleType] = {name: load_leaf(READERS, name, kind="reader") for name in leaf_names(READERS)}
    scores = {name: leaf.match(source, names) for name, leaf in readers.items()}
    best = [name for name, score in scores.items() if score == max(scores.values()) > 0]
    if len(best) == 1:
        return best[0]
    got = f"a layout that fits {' and '.join(best)}" if best else f"an unknown one (files: {len(names):,})"
    raise DataError(
        f"The layout of a data set must fit one reader ({', '.join(readers)}). Got {got} in {source.root}. "
        f"Choose one with --reader{'' if best else ', or sort the images into <class>/ folders'}."
    )


def _reread(path: Path, groups: str | None) -> Manifest:
    """A manifest that was written before, with its images looked at again."""
    if groups is not None:
        raise DataError(f"A manifest keeps its groups. Got --groups {groups} for {path}. Read the data set again.")
    manifest = Manifest.load(path)
    source, before = ImageSource(manifest.root), manifest.frame
    if missing := sorted(set(before["path"]) - set(source.names())):
        raise DataError(
            f"Every image of a manifest must be in {manifest.root}. Got {len(missing):,} that are not: "
            f"{', '.join(missing[:5])}. Put them back, or change root in manifest.json."
        )
    frame = identify(source, before)
    changed = before.filter(
        before["pixels_sha256"].is_not_null() & before["pixels_sha256"].ne_missing(frame["pixels_sha256"])
    )["path"]
    if len(changed):
        raise DataError(
            f"Images must be those that the manifest was written for. Got {len(changed):,} with other pixels: "
            f"{', '.join(changed.head(5))}. Put them back, or read the data set again."
        )
    frame, notes = join_groups(frame, [*manifest.id_certainty, "group_id"])
    kept = [note for note in manifest.notes if not note.startswith(_UNUSED_IDS)]  # columns may have got other names
    return replace(manifest, frame=frame, notes=tuple(dict.fromkeys((*kept, *_unused_id_notes(manifest), *notes))))


def _run_folder_notes(source: ImageSource) -> list[str]:
    runs = source.run_folders()
    return [f"Folders of trainings inside the data are skipped: {len(runs):,} ({_some(runs)})."] if runs else []


def _unused_id_notes(manifest: Manifest) -> list[str]:
    """Names carried columns that look like ids: unused, they let a patient stand in two splits unseen."""
    used = {*ID_COLUMNS, *manifest.label_columns, *manifest.id_certainty, *manifest.roles}
    frame = manifest.frame
    unused = [
        name
        for name in frame.columns
        if name not in used and _LOOKS_LIKE_ID.fullmatch(name) and frame[name].null_count() < frame.height
    ]
    advice = "Rename the column to patient_id or unit_id, so that images of equal ids stay together."
    return [f"{_UNUSED_IDS}: {_some(unused)}. {advice}"] if unused else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
