"""Identity: one pass over all images that hashes bytes and decoded pixels, finds broken files and equal pictures."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int, UInt8

from chiron.core.errors import DataError, PreprocessError
from chiron.core.hashing import sha256_bytes
from chiron.data.copies.look_hash import look_hash
from chiron.data.copies.pairs import CopyPair
from chiron.data.copies.thumbnail import SIDE, thumbnail
from chiron.data.groups import connected_groups, is_blank
from chiron.data.manifest_columns import UNCERTAIN, label_columns_of
from chiron.data.source import ImageSource
from chiron.preprocess.decode import CanonicalImage

_MOST_NAMED = 5
# How the notes begin that `join_groups` makes anew each time.
_BLANK, _EQUAL, _BROKEN = "Images without", "Sets of images with identical pixels", "Images that cannot be decoded"
_COPIES, _SUSPECTS = "Pairs of copies with other pixels", "Pairs that may be copies"
NOTES_OF_GROUPS = (_BLANK, _EQUAL, _BROKEN, _COPIES, _SUSPECTS)


@dataclass(frozen=True)
class LabelConflict:
    """Images of equal pixels that say different things; (path, label) each."""

    images: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return " = ".join(f"{path} ({label})" for path, label in self.images)

    def brief(self) -> str:
        """At most five of the images, among them one of every label as far as they reach, and how many more."""
        first = {label: (path, label) for path, label in reversed(self.images)}
        ranked = sorted(self.images, key=lambda image: (first[image[1]] != image, image))
        shown = LabelConflict(tuple(sorted(ranked[:_MOST_NAMED])))
        more = len(self.images) - len(shown.images)
        return f"{shown} and {more:,} more" if more else str(shown)


def pixels_hash(image: CanonicalImage) -> str:
    """SHA-256 over shape, type and pixels in their plainest form, the same on every machine and in any file format.

    Three equal channels count as one, and 16 bits that only repeat 8 (all values divisible by 257) as 8.
    """
    image = _plainest(image)
    little_endian = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    return sha256_bytes(f"{image.shape}{image.dtype.name}".encode() + little_endian.tobytes())


def _plainest(image: CanonicalImage) -> CanonicalImage:
    """The same picture with as few bits and channels as it needs; the first row alone settles most cases."""
    if image.dtype.itemsize == 2 and all((part % 257 == 0).all() for part in (image[:1], image)):
        image = (image // 257).astype(np.uint8)
    if image.shape[2] == 3 and all((part == part[..., :1]).all() for part in (image[:1], image)):
        image = image[..., :1]
    return image


@dataclass(frozen=True)
class Identified:
    """A frame whose images were looked at, a thumbnail of each, and the shorter side, px (0 where unreadable)."""

    frame: pl.DataFrame
    thumbnails: UInt8[np.ndarray, "n 16 16 3"]
    sides: Int[np.ndarray, "n"]


def identify(source: ImageSource, frame: pl.DataFrame) -> Identified:
    """`frame` with hashes of every row's image (bytes, pixels, look), status (ok | unreadable) and status_reason."""
    thumbnails, sides = np.zeros((frame.height, SIDE, SIDE, 3), np.uint8), np.zeros(frame.height, np.int64)

    def look(row: int, path: str) -> tuple[str | None, ...]:
        digest = None
        try:
            data = source.read_bytes(path)
            digest = sha256_bytes(data)
            image = source.decode(path, data=data)
        except (DataError, PreprocessError) as error:
            return digest, None, None, "unreadable", str(error)
        thumbnails[row], sides[row] = thumbnail(image), min(image.shape[:2])
        return digest, pixels_hash(image), look_hash(thumbnails[row]), "ok", None

    # Threads, not processes: Pillow and hashlib let go of the interpreter while they work.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        found = list(pool.map(look, range(frame.height), frame["path"]))
    columns = ("bytes_sha256", "pixels_sha256", "look_hash", "status", "status_reason")
    values = zip(*found, strict=True) if found else [()] * len(columns)
    series = (pl.Series(name, column, pl.String) for name, column in zip(columns, values, strict=True))
    return Identified(frame.with_columns(series), thumbnails, sides)


def join_groups(
    frame: pl.DataFrame, id_columns: Sequence[str], copies: Sequence[CopyPair] = ()
) -> tuple[pl.DataFrame, list[str]]:
    """`frame` with a group_id that joins equal ids, identical pixels and copies; and what is to be told of it."""
    ids = [frame[name].cast(pl.String).to_list() for name in id_columns]
    columns = [*ids, frame["pixels_sha256"].to_list()]
    links = [pair.sample_ids for pair in copies if pair.is_same]
    groups = connected_groups(frame["sample_id"].to_list(), columns, links)
    notes = []
    blank = sum(all(is_blank(value) for value in row) for row in zip(*ids, strict=True)) if ids else 0
    if blank:
        notes.append(f"{_BLANK} {' or '.join(id_columns)}, each its own group: {blank:,}.")
    sizes = frame["pixels_sha256"].drop_nulls().value_counts()["count"]
    repeated = sizes.filter(sizes > 1)
    if len(repeated):
        notes.append(f"{_EQUAL}, which join groups: {len(repeated):,} ({repeated.sum():,} images).")
    notes += _copy_notes(frame, columns, copies)
    broken = frame.filter(pl.col("status") == "unreadable")["path"].to_list()
    if broken:
        notes.append(f"{_BROKEN}: {len(broken):,} ({_listed(broken)}).")
    return frame.with_columns(pl.Series("group_id", groups, pl.String)), notes


def _copy_notes(frame: pl.DataFrame, columns: Sequence[Sequence[str | None]], copies: Sequence[CopyPair]) -> list[str]:
    """How many pairs are one picture, how many of them no id and no pixels had joined, and how many are suspects."""
    same, suspects = [pair for pair in copies if pair.is_same], [pair for pair in copies if pair.is_suspect]
    apart = dict(zip(frame["sample_id"], connected_groups(frame["sample_id"].to_list(), columns), strict=True))
    news = sum(apart[pair.sample_ids[0]] != apart[pair.sample_ids[1]] for pair in same)
    notes = []
    if same:
        notes.append(
            f"{_COPIES} (re-encoded, scaled, cropped, turned), which join groups: "
            f"{len(same):,} ({news:,} of them of different groups otherwise)."
        )
    if suspects:
        notes.append(
            f"{_SUSPECTS} and are not joined: {len(suspects):,}. `chiron data audit` shows them; verdicts "
            "stand in duplicates.csv."
        )
    return notes


def label_conflicts(frame: pl.DataFrame) -> list[LabelConflict]:
    """All sets of images with identical pixels and different known labels, sorted by path.

    Of several labels an image, one that is uncertain or not assessed contradicts no other.
    """
    labels = label_columns_of(frame.columns)
    doubted = pl.lit(None) if labels == ["label"] else pl.lit(UNCERTAIN)
    sure = [pl.col(name).filter(pl.col(name).ne_missing(doubted)).drop_nulls().n_unique() for name in labels]
    readable = frame.filter(pl.col("pixels_sha256").is_not_null(), pl.any_horizontal(pl.col(labels).is_not_null()))
    known = readable.group_by("pixels_sha256").agg(sure)
    torn = known.filter(pl.any_horizontal(pl.col(name) > 1 for name in labels))
    rows = readable.join(torn.select("pixels_sha256"), on="pixels_sha256").sort("path")
    conflicts = [
        LabelConflict(tuple((row["path"], _label_text(row, labels)) for row in part.iter_rows(named=True)))
        for part in rows.partition_by("pixels_sha256", maintain_order=True)
    ]
    return sorted(conflicts, key=lambda conflict: conflict.images)


def require_one_label(frame: pl.DataFrame) -> None:
    """Stops when the same picture has two labels: one of them is wrong, and only a person can say which.

    Raises:
        DataError: naming the images.
    """
    conflicts = label_conflicts(frame)
    if conflicts:
        raise DataError(
            f"Identical images must have the same label. Got {len(conflicts):,} with different ones: "
            f"{_listed([conflict.brief() for conflict in conflicts], '; ')}. "
            "Correct the labels or remove the images; `chiron data inspect` lists all."
        )


def _label_text(row: dict[str, str | int | None], labels: list[str]) -> str:
    if labels == ["label"]:
        return str(row["label"])
    return ", ".join(f"{name.removeprefix('label_')} {row[name]}" for name in labels if row[name] is not None)


def _listed(names: list[str], separator: str = ", ") -> str:
    return separator.join(names[:_MOST_NAMED]) + (f"{separator}..." if len(names) > _MOST_NAMED else "")
