"""Roboflow's folder export: `train|valid|test/<class>/<name>_jpg.rf.<hash>.jpg`.

Roboflow writes several augmented copies of one source image into train, under the same name before `.rf.`. Copies of
one source are one group: a new split must not divide them.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

import polars as pl

from chiron.data.readers._base import (
    NO_MATCH,
    SPECIFIC,
    Reading,
    name_samples,
    only_images,
    place_in_folders,
    require_classes,
)
from chiron.data.readers._found import Found

GROUPS: dict[str, str] = {}
_MARK = ".rf."


def match(found: Found) -> int:
    """Specific: most images lie in folders and carry Roboflow's mark in their names."""
    images = [name for name in only_images(found.names)[0] if "/" in name]
    return SPECIFIC if images and sum(_MARK in name for name in images) > len(images) / 2 else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """Class folders whose images are grouped by source image.

    Raises:
        DataError: no class folder.
    """
    images, skipped = only_images(found.names)
    placed, outside = place_in_folders(images)
    paths = [image.path for image in placed]
    sample_ids, named = name_samples(paths)
    sources = [_source(path) for path in paths]
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "path": paths,
            "label": [image.label for image in placed],
            "split": [image.split for image in placed],
            "source_id": sources,
        },
        schema_overrides={"split": pl.String, "source_id": pl.String},
    )
    return Reading(
        frame=frame,
        classes=require_classes(frame["label"].to_list()),
        grouping="Grouped by source image, from file names; patients unknown, so intervals may still be too narrow.",
        roles={"source_id": "identifier"},
        id_certainty={"source_id": "certain"},
        notes=(*skipped, *outside, *named, *_copies(frame)),
    )


def _source(path: str) -> str | None:
    """The name before the mark; None for an image that Roboflow did not name."""
    before, mark, _ = PurePosixPath(path).name.partition(_MARK)
    return before if mark else None


def _copies(frame: pl.DataFrame) -> Sequence[str]:
    """How many images are further copies of a source image, and sources that stand in two classes."""
    sources = frame.filter(pl.col("source_id").is_not_null()).group_by("source_id")
    counted = sources.agg(pl.len().alias("images"), pl.col("label").n_unique().alias("classes"))
    further = int(counted["images"].sum()) - counted.height
    notes = [f"Source images: {counted.height:,}; further augmented copies of them: {further:,}."] if further else []
    if torn := counted.filter(counted["classes"] > 1)["source_id"].sort().to_list():
        notes.append(f"Source images in two classes: {len(torn):,} ({', '.join(torn[:5])}).")
    return notes
