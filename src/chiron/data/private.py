"""Strict privacy: tables, logs and reports of a project hold keyed hashes, and one local file the names behind them.

File and folder names count as personal data, and so does every column whose content nobody has named: only columns
with a role are carried on, identifiers and sites as hashes, dates not at all.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from chiron.core.hashing import keyed_hash
from chiron.data.copies.pairs import ordered
from chiron.data.local_names import LOCAL_NAMES, LocalName, add_local_names
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import AFTER_LABEL, BEFORE_LABEL, SPLIT_FOLDERS
from chiron.preprocess.canonical import IMAGE_SUFFIXES

Privacy = Literal["auto", "project", "strict"]
_KEPT_ROLES = frozenset({"predictor", "technical", "reference_standard", "subgroup"})
_HASHED_ROLES = frozenset({"identifier", "site"})
_PLAIN_WORDS = frozenset(
    {".", "/", "image", "images", "img", "data", "dataset", "home", "tmp", "dicom", "folder", "set"}
)


@dataclass(frozen=True)
class Private:
    """A manifest without names, and what its samples were called."""

    manifest: Manifest
    sample_hash: dict[str, str]  # name -> hash


def is_strict(privacy: Privacy, manifest: Manifest) -> bool:
    """Whether a project keeps no names of these images: as asked, and by default where there are DICOM files."""
    if privacy == "auto":
        suffixes = {PurePosixPath(path).suffix.lower() for path in manifest.frame["path"]}
        # What is read from DICOM headers; a table of other images may have some of these columns, not all.
        told = {name.removeprefix("dicom_") for name, role in manifest.roles.items() if role == "technical"}
        return bool(suffixes & {".dcm", ".dicom"}) or {"photometric_interpretation", "bits_stored"} <= told
    return privacy == "strict"


def is_private(manifest: Manifest) -> bool:
    """Whether the names of a manifest's images stand in a local file already."""
    return manifest.root.name == LOCAL_NAMES


def make_private(manifest: Manifest, key: bytes, project: Path) -> Private:
    """The same data under keyed hashes; the names go to `local_names.csv` in the folder `project`.

    Raises:
        OutputError: that file cannot be written.
    """
    if is_private(manifest):
        return Private(manifest, {name: name for name in manifest.frame["sample_id"]})
    root = str(manifest.root.absolute())
    samples = _hashes(manifest.frame["sample_id"], lambda name: sample_hash(key, name))
    paths = _hashes(manifest.frame["path"], lambda path: path_hash(key, root, path))
    rows = manifest.frame.select("sample_id", "path").iter_rows()
    local = {paths[path]: LocalName(root, path, samples[name], name) for name, path in rows}
    add_local_names(project / LOCAL_NAMES, local)
    frame, dropped = _without_names(manifest, key, samples, paths)
    notes = scrubbed(manifest.notes, manifest)
    if dropped:
        notes.append(f"Columns left out for privacy, as nobody gave them a role: {len(dropped):,}.")
    roles = {name: role for name, role in manifest.roles.items() if name in frame.columns}
    certainty = {name: value for name, value in manifest.id_certainty.items() if name in frame.columns}
    pairs = tuple(replace(pair, sample_ids=ordered(*(samples[n] for n in pair.sample_ids))) for pair in manifest.copies)
    made = replace(
        manifest,
        frame=frame,
        root=project / LOCAL_NAMES,
        roles=roles,
        id_certainty=certainty,
        notes=tuple(notes),
        copies=pairs,
    )
    return Private(made, samples)


def scrubbed(notes: Iterable[str], manifest: Manifest) -> list[str]:
    """Notes without those parts that name a file, a folder or an id of the data.

    A list in parentheses or behind a colon is left out where it holds a name; a sentence that still holds one goes.
    """
    names = _names_in(manifest)
    kept = []
    for note in notes:
        for form in (
            note,
            re.sub(r" \([^()]*\)", "", note),
            re.sub(r"[:(].*$", "", note, flags=re.DOTALL).rstrip() + ".",
        ):
            if not _holds(form, names):
                kept.append(form)
                break
        else:
            kept.append("A note of the reader is left out because it names files.")
    return kept


def _names_in(manifest: Manifest) -> set[str]:
    """Everything that a name may be: ids, paths, parts of paths; but for classes, split folders and plain words."""
    frame = manifest.frame
    names: set[str] = {part for part in manifest.root.parts if len(part) > 1}
    for path in frame["path"]:
        pure = PurePosixPath(path)
        names |= {path, pure.stem, *pure.parts}
    for column in ("sample_id", "unit_id", "patient_id", *manifest.id_certainty):
        names |= set(frame[column].drop_nulls().cast(pl.String))
    return names - set(manifest.classes) - set(SPLIT_FOLDERS) - _PLAIN_WORDS


def _holds(text: str, names: Collection[str]) -> bool:
    """Whether a name stands in the text as a whole, whatever signs are in it."""
    return any(name in text and _stands_alone(name, text) for name in names)


def _stands_alone(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _hashes(values: Iterable[str], hashed: Callable[[str], str]) -> dict[str, str]:
    return {value: hashed(value) for value in values}


def sample_hash(key: bytes, name: str) -> str:
    """How private tables call a sample."""
    return f"s-{keyed_hash(key, name)}"


def path_hash(key: bytes, root: str, path: str) -> str:
    """How private tables call an image; the suffix stays, but that of an unknown kind, which may be part of a name."""
    suffix = PurePosixPath(path).suffix.lower()
    return keyed_hash(key, f"{root}/{path}") + (suffix if suffix in IMAGE_SUFFIXES else "")


def _without_names(
    manifest: Manifest, key: bytes, samples: dict[str, str], paths: dict[str, str]
) -> tuple[pl.DataFrame, list[str]]:
    """The frame with hashes in place of names, and the columns that were dropped."""
    own = {*BEFORE_LABEL, *manifest.label_columns, *AFTER_LABEL}
    carried = [name for name in manifest.frame.columns if name not in own]
    hashed = ["unit_id", "patient_id", "group_id"]
    hashed += [n for n in carried if manifest.roles.get(n) in _HASHED_ROLES or n in manifest.id_certainty]
    kept = [n for n in carried if n in hashed or manifest.roles.get(n) in _KEPT_ROLES or n == "quality"]
    frame = manifest.frame.select(*[name for name in manifest.frame.columns if name in own or name in kept])

    def text(value: str) -> str:
        return f"i-{keyed_hash(key, value)}"

    frame = frame.with_columns(
        pl.col("status_reason").replace_strict(_reasons(manifest, paths), default=None, return_dtype=pl.String),
        *[
            pl.col(name).cast(pl.String).map_elements(text, return_dtype=pl.String, skip_nulls=True).alias(name)
            for name in dict.fromkeys(hashed)
        ],
    )
    frame = frame.with_columns(pl.col("sample_id").replace_strict(samples), pl.col("path").replace_strict(paths))
    return frame, [name for name in carried if name not in kept]


def _reasons(manifest: Manifest, paths: dict[str, str]) -> dict[str, str]:
    """Why an image is unreadable, with its hash in place of its name; a reason that names more is left out."""
    reasons = {}
    names = _names_in(manifest)
    rows = manifest.frame.filter(pl.col("status_reason").is_not_null()).select("path", "status_reason").iter_rows()
    for path, reason in rows:
        plain = reason.replace(path, paths[path]).replace(PurePosixPath(path).name, paths[path])
        plain = plain.replace(str(manifest.root), "the data")
        reasons[reason] = "cannot be decoded" if _holds(plain, names) else plain
    return reasons
