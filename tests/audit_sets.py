"""Small sets of images for the tests of the audit: noise, groups of two, and what a test plants in them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from chiron.audit.facts import ImageFacts, measure_images
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource

Paint = Callable[[np.ndarray, str, int], Image.Image]  # (noise, label, number) -> picture


def plain(pixels: np.ndarray, label: str, number: int) -> Image.Image:
    """The noise itself, in gray."""
    return Image.fromarray(pixels)


def make_set(
    folder: Path,
    *,
    count: int = 160,
    classes: tuple[str, ...] = ("sick", "well"),
    paint: Paint = plain,
    suffix: str = ".png",
    columns: Callable[[str, int], dict[str, object]] | None = None,
    roles: dict[str, str] | None = None,
    side: int = 24,
    seed: int = 0,
) -> tuple[Manifest, ImageFacts]:
    """A manifest and its facts; two images a group, labels of groups at random, nothing told by name or order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(count // 2) % len(classes), 1))
    numbers = rng.permutation(count)
    rows = []
    for number in range(count):
        label = classes[labels[number // 2]]
        path = f"image_{numbers[number]:04d}{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        paint(rng.integers(60, 200, (side, side), dtype=np.uint8), label, number).save(folder / path)
        rows.append(
            {"sample_id": Path(path).stem, "path": path, "label": label, "group_id": f"g{number // 2:03d}"}
            | (columns(label, number) if columns else {})
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    manifest = Manifest(frame, classes, folder, "test", roles=roles or {})
    return manifest, measure_images(ImageSource(folder), manifest.frame)
