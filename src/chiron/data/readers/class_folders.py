"""Class folders: `<class>/image`, or `train/ val/ test/` (also `valid`, `validation`, `cal`, `external`) above them."""

import polars as pl

from chiron.data.columns import known_roles
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
from chiron.data.readers._tables import grouping_of, join_tables, tables_by_use, with_ids

GROUPS: dict[str, str] = {}


def match(found: Found) -> int:
    """General: any image that lies in a folder."""
    in_folders = any("/" in name for name in found.images)
    return GENERAL if in_folders and not found.source.is_npz else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """The class is the folder's name; folders inside it are allowed. Tables that name the images add their columns.

    Raises:
        DataError: no class folder; a table that contradicts the folders.
    """
    images, skipped = only_images([name for name in found.names if name not in found.tables], found.unnamed)
    placed, outside = place_in_folders(images)
    sample_ids, named = name_samples([image.path for image in placed])
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "path": [image.path for image in placed],
            "_found": [image.path for image in placed],
            "label": [image.label for image in placed],
            "split": [image.split for image in placed],
        },
        schema_overrides={"split": pl.String},
    )
    labeled, further, unused = tables_by_use(found)
    unused = (*unused, *(f"{said.name} (labels of its own)" for said in labeled))
    frame, joined = join_tables(frame, further, found.index, table_only=False)
    frame, certainty, told = with_ids(frame)
    if unused:
        joined.append(f"Tables that are not used: {'; '.join(unused)}.")
    return Reading(
        frame=frame,
        classes=require_classes(frame["label"].to_list()),
        grouping=grouping_of(certainty),
        roles=known_roles(frame.columns),
        id_certainty=certainty,
        notes=(*skipped, *outside, *named, *joined, *told),
    )
