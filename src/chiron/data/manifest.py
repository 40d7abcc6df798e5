"""Manifest: one row a sample; what the images are, whose they are, what they show, and what they are used for."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiron.core.errors import DataError, reason_of
from chiron.core.files import write_text
from chiron.core.hashing import sha256_json
from chiron.core.suggest import did_you_mean
from chiron.data.assessed import assessed
from chiron.data.copies.pairs import DUPLICATES, CopyPair, read_pairs, write_pairs
from chiron.data.local_names import LOCAL_NAMES
from chiron.data.manifest_columns import (
    AFTER_LABEL,
    BEFORE_LABEL,
    ID_COLUMNS,
    LABEL_PREFIX,
    SPLITS,
    UNCERTAIN,
    UNCERTAIN_LABEL,
    UNKNOWN_LABEL,
    Certainty,
    ColumnRole,
    check_columns,
    check_rows,
    complete,
    label_columns_of,
    names_that_do_not_fit,
    require_columns,
)
from chiron.spec.labels import UncertainPolicy


@dataclass(frozen=True, eq=False)  # tables have no plain equality: compare digests
class Manifest:
    """A table of samples and what it takes to read it; checked when it is made.

    Columns of `frame`: sample_id, unit_id, patient_id (null where unknown), group_id, path, label (a class name) or
    label_<class> (1, 0, -1 = uncertain, null = not assessed) where there is no `label`, split (null = none), status,
    status_reason, bytes_sha256, pixels_sha256, look_hash, then metadata. A metadata column without a role is carried
    and never used.
    """

    frame: pl.DataFrame
    classes: tuple[str, ...]
    root: Path
    reader: str
    roles: Mapping[str, ColumnRole] = field(default_factory=dict)
    id_certainty: Mapping[str, Certainty] = field(default_factory=dict)
    grouping: str = "Every image is its own group; patients unknown, so intervals may still be too narrow."
    notes: tuple[str, ...] = ()
    fold: int | None = None  # which fold its split holds out, from 0; None where it is of no fold
    copies: tuple[CopyPair, ...] = ()  # pairs of images that are, or may be, one picture with other pixels
    copies_of: str | None = None  # digest of the pictures among which copies were searched; None: not searched

    def __post_init__(self) -> None:
        require_columns(self.frame)  # before columns are added, so that the message lists what the file has
        object.__setattr__(self, "frame", complete(self.frame))
        check_columns(self.frame.columns, self.classes, self.label_columns, self.roles, self.id_certainty)
        check_rows(self.frame, self.classes)

    @property
    def is_multi_label(self) -> bool:
        """Whether a sample can have several classes."""
        return "label" not in self.frame.columns

    @property
    def label_columns(self) -> list[str]:
        """`["label"]`, or one column a class in the order of `classes`."""
        return [LABEL_PREFIX + name for name in self.classes] if self.is_multi_label else ["label"]

    @property
    def labels(self) -> Int[np.ndarray, "n"] | Int[np.ndarray, "n classes"]:
        """Place of each row's class in `classes`, -1 where it is unknown.

        When multi-label, 1 or 0 a class, -2 where it is uncertain and -1 where it was not assessed.
        """
        if self.is_multi_label:
            cells = pl.col(self.label_columns).cast(pl.Int64)
            return self.frame.select(cells.replace({UNCERTAIN: UNCERTAIN_LABEL, None: UNKNOWN_LABEL})).to_numpy()
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place.get(name, UNKNOWN_LABEL) for name in self.frame["label"]], dtype=np.int64)

    def targets(self, uncertain: UncertainPolicy) -> Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"]:
        """What training aims at: `labels`, or when multi-label 1, 0 or NaN (not known, or not counted) a class."""
        if not self.is_multi_label:
            return self.labels
        return assessed(self.frame.select(pl.col(self.label_columns).cast(pl.Float64)).to_numpy(), uncertain)

    @property
    def digest(self) -> str:
        """SHA-256 over what is learned from: (sample_id, label, split, pixels) of all rows, and which are copies.

        Independent of the order of rows and of where the files lie.
        """
        columns = ["sample_id", *self.label_columns, "split", "pixels_sha256"]
        rows = sorted(map(list, self.frame.select(columns).iter_rows()))
        return sha256_json([rows, sorted(map(list, self.copy_links))] if self.copy_links else rows)

    @property
    def copy_links(self) -> list[tuple[str, str]]:
        """The pairs of samples that count as one picture."""
        return [pair.sample_ids for pair in self.copies if pair.is_same]

    def content_hashes(self, split: str | None = None) -> list[str]:
        """Sorted hashes of (pixels, label), one a readable row of `split` (default: all rows).

        They hold no name, so that renamed images and parts of a test set are recognized.
        """
        part = self.frame.filter(pl.col("status") == "ok", True if split is None else pl.col("split") == split)
        return sorted(sha256_json(list(row)) for row in part.select("pixels_sha256", *self.label_columns).iter_rows())

    def content_digest(self, split: str | None = None) -> str:
        """One SHA-256 over `content_hashes`."""
        return sha256_json(self.content_hashes(split))

    def select(self, split: str) -> "Manifest":
        """The rows of one split, in the same order.

        Raises:
            DataError: there is no such role.
        """
        if split not in SPLITS:
            raise DataError(f"A split must be one of {', '.join(SPLITS)}. Got {split!r}. {did_you_mean(split, SPLITS)}")
        return replace(self, frame=self.frame.filter(pl.col("split") == split))

    def with_splits(self, splits: Mapping[str, str | None], *, notes: Iterable[str] = ()) -> "Manifest":
        """The same samples with other splits; samples that `splits` does not name get none."""
        column = pl.Series("split", [splits.get(name) for name in self.frame["sample_id"]], dtype=pl.String)
        return replace(self, frame=self.frame.with_columns(column), notes=(*self.notes, *notes))

    def with_class_names(self, names: Sequence[str]) -> "Manifest":
        """The same samples with the classes called, or only ordered, as `names` says.

        Names that are the classes in another order fix the order; of several labels an image the others are left out.
        Classes that are whole numbers from 0 or 1 on get the name that stands at their place; there may be more names
        than the data has numbers.

        Raises:
            DataError: the names are neither.
        """
        if sorted(names) == sorted(self.classes):
            return replace(self, classes=tuple(names))
        if self.is_multi_label and set(names) < set(self.classes) and len(set(names)) == len(names):
            others = [LABEL_PREFIX + name for name in self.classes if name not in names]
            told = f"Classes that labels.names leaves out: {', '.join(n for n in self.classes if n not in names)}."
            roles = {name: role for name, role in self.roles.items() if name not in others}
            kept = self.frame.drop(others)
            return replace(self, frame=kept, classes=tuple(names), roles=roles, notes=(*self.notes, told))
        first = int("0" not in self.classes)
        name_of = {str(place): name for place, name in enumerate(names, start=first)}
        if not set(self.classes) <= set(name_of):
            raise DataError(names_that_do_not_fit(names, self.classes))
        return replace(self.rename_classes(name_of), classes=tuple(names))

    def rename_classes(self, names: Mapping[str, str]) -> "Manifest":
        """The same samples with other names of some classes."""
        classes = tuple(names.get(name, name) for name in self.classes)
        if not self.is_multi_label:
            labels = pl.col("label").replace(dict(names))
            return replace(self, frame=self.frame.with_columns(labels), classes=classes)
        columns = {LABEL_PREFIX + name: LABEL_PREFIX + new for name, new in names.items() if name in self.classes}
        roles = {columns.get(column, column): role for column, role in self.roles.items()}
        return replace(self, frame=self.frame.rename(columns), classes=classes, roles=roles)

    def save(self, folder: Path) -> None:
        """Writes `manifest.csv`, `manifest.json` and `duplicates.csv` to `folder`, each as a whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        carried = self.frame.drop(*BEFORE_LABEL, *self.label_columns, *AFTER_LABEL)
        facts = {
            "classes": self.classes,
            "root": _written_root(self.root.absolute(), folder.absolute()),
            "reader": self.reader,
            "roles": dict(self.roles),
            "id_certainty": dict(self.id_certainty),
            "grouping": self.grouping,
            "notes": self.notes,
            "fold": self.fold,
            "copies_of": self.copies_of,
            "types": {name: str(dtype) for name, dtype in carried.schema.items()},
        }
        write_text(folder / "manifest.csv", self.frame.write_csv())
        write_text(folder / "manifest.json", json.dumps(facts, indent=2, ensure_ascii=False))
        if self.copies or self.copies_of is not None:
            write_pairs(folder / DUPLICATES, self.copies)
        else:  # of a manifest that was here before
            (folder / DUPLICATES).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, root: Path | None = None) -> "Manifest":
        """The manifest in a folder, or in a CSV file; facts come from `manifest.json` beside it where there is one.

        A table without facts needs the columns sample_id, path and label; its classes are sorted, its images lie
        beside it, and its ids are taken as certain. So are patient_id and unit_id where they were filled in after the
        facts were written. Verdicts on copies come from `duplicates.csv` beside it.

        Args:
            root: where the images lie now; by default where they lay when the manifest was written.
        Raises:
            DataError: a file is missing or damaged, or the table does not hold what it must.
        """
        table = path / "manifest.csv" if path.is_dir() else path
        frame, facts = _read_table(table), _read_facts(table.with_suffix(".json"))
        frame = _typed(frame, facts.get("types", {}), table)
        certainty, grouping = _ids_of(frame, facts)
        copies = table.with_name(DUPLICATES)
        try:
            return cls(
                frame=frame,
                classes=tuple(facts["classes"]) if "classes" in facts else _classes_of(frame),
                root=root or table.parent / facts.get("root", "."),
                reader=facts.get("reader", "manifest"),
                roles=facts.get("roles", {}),
                id_certainty=certainty,
                grouping=grouping,
                notes=tuple(facts.get("notes", ())),
                fold=_fold_of(facts),
                copies=read_pairs(copies, frame["sample_id"]) if copies.is_file() else (),
                copies_of=facts.get("copies_of"),
            )
        except DataError as error:
            raise DataError(f"{error} (in {table})") from error


def _written_root(root: Path, folder: Path) -> str:
    """Relative where the images lie at or below the manifest, so that both can move together; else absolute.

    Relative also where their names stand in the project's local file, which moves with the project.
    """
    if root.name == LOCAL_NAMES:
        return Path(os.path.relpath(root, folder)).as_posix()
    return (root.relative_to(folder) if root.is_relative_to(folder) else root).as_posix()


def is_manifest(path: Path) -> bool:
    """Whether `path` is a manifest: a folder with manifest.csv, such a file, or a CSV file with a manifest's columns.

    Other tables are for the readers.
    """
    if path.is_dir():
        return (path / "manifest.csv").is_file()
    if not path.is_file() or path.suffix.lower() != ".csv":
        return False
    with path.open("rb") as stream:
        header = stream.readline(1 << 16).decode("utf-8-sig", errors="replace").strip().split(",")
    return path.name == "manifest.csv" or {"sample_id", "path"} <= {name.strip(' "') for name in header}


def _read_table(table: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(table, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"A manifest must be a readable CSV file in UTF-8. Got {reason_of(error)} at {table}. Give another."
        ) from error


def _read_facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError) as error:
        raise DataError(
            f"The facts beside a manifest must be readable JSON. Got {reason_of(error)} at {path}. Mend it."
        ) from error


def _typed(frame: pl.DataFrame, types: Mapping[str, str], table: Path) -> pl.DataFrame:
    """Text from CSV becomes what it was when it was written; labels of several classes become whole numbers."""
    wanted = {name: getattr(pl, kind) for name, kind in types.items() if kind in _SAVED_TYPES and name in frame.columns}
    wanted |= {name: pl.Int8 for name in label_columns_of(frame.columns) if name != "label"}
    try:
        booleans = [name for name, dtype in wanted.items() if dtype == pl.Boolean]
        frame = frame.with_columns(pl.col(booleans).replace_strict({"true": True, "false": False}, default=None))
        return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in wanted.items() if dtype != pl.Boolean)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"A column must hold the type it had when it was written. Got {error} in {table}.") from error


_SAVED_TYPES = frozenset(
    {"Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"}
)


def _fold_of(facts: Mapping[str, Any]) -> int | None:
    fold = facts.get("fold")
    if fold is not None and (type(fold) is not int or fold < 0):
        raise DataError(
            f"The fold of a manifest must be a whole number from 0, or null. Got {fold!r}. Mend manifest.json."
        )
    return fold


def _classes_of(frame: pl.DataFrame) -> tuple[str, ...]:
    if "label" in frame.columns:
        return tuple(sorted(name for name in frame["label"].drop_nulls().unique() if name.strip()))
    return tuple(name.removeprefix(LABEL_PREFIX) for name in label_columns_of(frame.columns))


def _ids_of(frame: pl.DataFrame, facts: Mapping[str, Any]) -> tuple[dict[str, Certainty], str]:
    """How certain each id column is, and the sentence on groups; ids that the facts do not speak of are certain.

    The group_id beside facts was computed, so it is no id of its own there.
    """
    stated = facts.get("id_certainty", {})
    asked = ("patient_id", "unit_id") if "id_certainty" in facts else ID_COLUMNS[1:]
    filled = [name for name in asked if name in frame.columns and (frame[name].str.strip_chars() != "").any()]
    added = [name for name in filled if name not in stated]
    certainty: dict[str, Certainty] = stated | dict.fromkeys(added, "certain")
    told = facts.get("grouping", Manifest.grouping)
    if not added:
        return certainty, told
    by = f"by {', '.join(added)} of the table"
    return certainty, f"{told.rstrip('.')}, and {by}." if stated else f"Grouped {by}."
