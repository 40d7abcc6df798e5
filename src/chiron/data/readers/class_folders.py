"""Class folders: `<class>/image`, or `train/ val/ test/` (also `valid`, `validation`, `cal`, `external`) above them."""

import polars as pl

from chiron.data.readers._base import (
    GENERAL,
    NO_MATCH,
    Reading,
    name_samples,
    only_images,
    place_in_folders,
    require_classes,
)
from chiron.data.readers._found import Found

GROUPS: dict[str, str] = {}


def match(found: Found) -> int:
    """General: any image that lies in a folder."""
    in_folders = any("/" in name for name in only_images(found.names)[0])
    return GENERAL if in_folders and not found.source.is_npz else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """The class is the folder's name; folders inside it are allowed. Nothing is known of patients.

    Raises:
        DataError: no class folder, or only one class.
    """
    images, skipped = only_images(found.names)
    placed, outside = place_in_folders(images)
    sample_ids, named = name_samples([image.path for image in placed])
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "path": [image.path for image in placed],
            "label": [image.label for image in placed],
            "split": [image.split for image in placed],
        },
        schema_overrides={"split": pl.String},
    )
    return Reading(
        frame=frame,
        classes=require_classes(frame["label"].to_list()),
        grouping="Every image is its own group; patients unknown, so intervals may still be too narrow.",
        notes=(*skipped, *outside, *named),
    )
