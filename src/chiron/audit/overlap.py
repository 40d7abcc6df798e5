"""Overlap: images of an external test that the bundle was trained on. ISIC 2019, for one, contains HAM10000.

Where the training images are at hand, all of both sets are compared as copies within one set are: pixels, then
registration. Else the hashes that the bundle keeps decide: equal pixels are the same image; near looks are suspects, of
which different sets have next to none (measured: 1 in 1,510 dermoscopic images, none of 600 radiographs).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from chiron.core.errors import LeakError
from chiron.data.copies.find import find_copies
from chiron.data.copies.look_hash import near_looks
from chiron.data.copies.search import LEAST_SIDE_PX
from chiron.data.copies.thumbnail import thumbnail
from chiron.data.known_images import KnownImages, pixel_marks
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource

Basis = Literal["images", "hashes", "nothing"]
MOST_SUSPECTS = 0.01  # share of the images; more near looks than this are no coincidence
_FEWEST_SUSPECTS = 3
_MOST_NAMED = 10


@dataclass(frozen=True)
class Overlap:
    """Ids of images of the test that training has seen, by how they were recognized; each stands once.

    `basis`: compared with the images of the training, with the hashes in the bundle, or with nothing, as the bundle
    keeps none.
    """

    basis: Basis
    num_images: int
    same_pixels: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()  # confirmed by registration
    suspects: tuple[str, ...] = ()  # a near look, or a possible copy

    @property
    def seen(self) -> tuple[str, ...]:
        """What counts as seen: the suspects too, where there are more than coincidence makes."""
        many = len(self.suspects) >= max(_FEWEST_SUSPECTS, MOST_SUSPECTS * self.num_images)
        return (*self.same_pixels, *self.copies, *(self.suspects if self.basis == "hashes" and many else ()))

    def to_json(self) -> dict[str, Any]:
        """Counts and the basis, as plain values."""
        return {
            "basis": self.basis,
            "num_images": self.num_images,
            "same_pixels": len(self.same_pixels),
            "copies": len(self.copies),
            "suspects": len(self.suspects),
        }

    def describe(self) -> str:
        """One sentence."""
        if self.basis == "nothing":
            return "The bundle keeps no hashes of its training images, so nobody knows whether these are new to it."
        how = {"images": "with the training images themselves", "hashes": "with the hashes in the bundle"}[self.basis]
        return (
            f"Compared {how}: of {self.num_images:,} images {len(self.same_pixels):,} have the pixels of a training "
            f"image, {len(self.copies):,} are copies of one with other pixels, {len(self.suspects):,} look like one."
        )


def find_overlap(part: Manifest, known: KnownImages | None, training: Manifest | None = None) -> Overlap:
    """Which images of `part` the training has seen.

    Args:
        known: the hashes that the bundle keeps.
        training: its images, where they are at hand: rows that were learned from or chosen by.
    """
    frame = part.frame.filter(pl.col("status") == "ok")
    ids, num_images = frame["sample_id"].to_list(), frame.height
    if training is not None:
        seen = set(training.frame["pixels_sha256"].drop_nulls())
        same = [name for name, pixels in frame.select("sample_id", "pixels_sha256").iter_rows() if pixels in seen]
        copies, suspects = _compared(part, training, left=frame.filter(~pl.col("sample_id").is_in(same)))
        return Overlap("images", num_images, tuple(same), tuple(copies), tuple(suspects))
    if known is None:
        return Overlap("nothing", num_images)
    marks = set(known.pixels)
    same = [name for name, mark in zip(ids, pixel_marks(frame["pixels_sha256"]), strict=True) if mark in marks]
    rest = frame.filter(~pl.col("sample_id").is_in(same), pl.col("look_hash").is_not_null())
    near = near_looks(rest["look_hash"].to_numpy(), np.array(known.looks))
    suspects = [name for name, place in zip(rest["sample_id"], near, strict=True) if place >= 0]
    return Overlap("hashes", num_images, tuple(same), (), tuple(suspects))


def require_no_overlap(overlap: Overlap) -> None:
    """Stops where images of the test were seen in training.

    Raises:
        LeakError: naming the first of them.
    """
    if not overlap.seen:
        return
    named = ", ".join(overlap.seen[:_MOST_NAMED]) + (", ..." if len(overlap.seen) > _MOST_NAMED else "")
    raise LeakError(
        f"Images of a test must be new to the bundle. Got {len(overlap.seen):,} of {overlap.num_images:,} that its "
        f"training has seen: {named}. {overlap.describe()} Leave them out with --overlap leave-out, or accept them "
        "with --overlap accept, which every report tells."
    )


def _compared(part: Manifest, training: Manifest, left: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Images of `left` that are confirmed copies of a training image, and those that may be."""
    sources = (ImageSource(part.root), ImageSource(training.root))
    theirs = training.frame.sort("sample_id").unique("pixels_sha256", keep="first", maintain_order=True)
    own = [(0, name, path) for name, path in left.select("sample_id", "path").iter_rows()]
    rows = own + [(1, name, path) for name, path in theirs.select("sample_id", "path").iter_rows()]
    thumbnails, sides = _looked_at(sources, rows)
    large = [row for row in range(len(rows)) if sides[row] >= LEAST_SIDE_PX]
    names = [f"{rows[row][0]}{rows[row][1]}" for row in large]
    pairs = find_copies(names, thumbnails[large], lambda k: sources[rows[large[k]][0]].decode(rows[large[k]][2]))
    across = [pair for pair in pairs if pair.sample_ids[0][0] != pair.sample_ids[1][0]]
    confirmed = {pair.sample_ids[0][1:] for pair in across if pair.confirmed}
    suspects = {pair.sample_ids[0][1:] for pair in across} - confirmed
    return sorted(confirmed), sorted(suspects)


def _looked_at(sources: Sequence[ImageSource], rows: Sequence[tuple[int, str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnail and shorter side of every image."""

    def look(row: tuple[int, str, str]) -> tuple[np.ndarray, int]:
        image = sources[row[0]].decode(row[2])
        return thumbnail(image), min(image.shape[:2])

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        found = list(pool.map(look, rows))
    return np.stack([one for one, _ in found]), np.array([side for _, side in found])
