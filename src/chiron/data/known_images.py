"""What a bundle keeps of the images that it was made with, so that they are recognized among others.

Hashes alone, sorted each for itself, without names, labels or order. Who has the bundle and an image can tell whether
that image was among them; from the file alone no image and no name can be made. Looks tell a little more than hashes of
pixels: two files of one picture are recognized as well. Who does not want to give that away removes the file, and the
bundle works as before; then nobody can check that images of a test are new to it.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from chiron.data.manifest import Manifest

KNOWN_IMAGES = "known_images.json"
_DIGITS = 16  # 64 bits of the SHA-256: two different images of a million agree with a probability of 1 in 40 million
_ABOUT = (
    "Hashes of the images that were learned from and chosen by. They recognize an image that one has; they hold no "
    "name and no picture. This file may be removed before the bundle is given away."
)


@dataclass(frozen=True)
class KnownImages:
    """Sorted hashes: of the pixels, and of the looks (`look_hash`), each once."""

    pixels: tuple[str, ...]
    looks: tuple[str, ...]

    def to_text(self) -> str:
        """The content of `known_images.json`."""
        content = {"about": _ABOUT, "pixels": " ".join(self.pixels), "looks": " ".join(self.looks)}
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str) -> "KnownImages":
        """What `to_text` wrote."""
        content = json.loads(text)
        return cls(tuple(content["pixels"].split()), tuple(content["looks"].split()))


def known_images(manifest: Manifest, splits: Collection[str]) -> KnownImages:
    """The readable images of these splits."""
    frame = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_in(list(splits)))
    return KnownImages(
        tuple(sorted(set(pixel_marks(frame["pixels_sha256"].drop_nulls())))),
        tuple(sorted(set(frame["look_hash"].drop_nulls()))),
    )


def pixel_marks(hashes: pl.Series) -> list[str]:
    """Hashes of pixels as `KnownImages` holds them."""
    return [digest[:_DIGITS] for digest in hashes]
