"""Layout: what a person says about how a data set is to be read, where its files do not say it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Everything may be left out: by default the layout is recognized.

    `images` and `metadata` belong to a table of labels: a folder or zip of its images where they do not lie beside it,
    and a second table that is joined by image id.
    """

    reader: str | None = None
    labels: Literal["single", "multi"] | None = None  # one class an image, or several columns or names
    groups: str | None = None  # another reading of the group ids that the reader offers
    group_by: tuple[str, ...] = ()  # further columns whose equal values belong together
    images: Path | None = None
    metadata: Path | None = None
    one_class: bool = False  # external testing: the images may all be of one class
    table_only: bool = False  # read tables without looking at images
    # Gives the key that hashes the ids of DICOM files, that of the project they are written to. It is asked only when
    # there are such files, because the first question makes the key.
    id_key: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)
