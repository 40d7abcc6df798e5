"""What every reader gives back, and what several of them need. A reader is a file of this folder with

    GROUPS: dict[str, str]                               # further readings of the group ids: name -> one sentence
    def match(found) -> int                              # NO_MATCH, GENERAL, TABLE or SPECIFIC
    def read(found, *, groups=None) -> Reading           # raises DataError with a clear sentence

`found` is a `readers._found.Found`: the source, its file names, and tables. Readers look at names and tables only;
hashing and joining of pixels come after them.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError
from chiron.data.image_names import is_image_name
from chiron.data.manifest_columns import SPLIT_FOLDERS, Certainty, ColumnRole, require_class_names

NO_MATCH, GENERAL, TABLE, SPECIFIC = 0, 1, 2, 3


@dataclass(frozen=True)
class Reading:
    """What a reader found: the manifest's columns as far as names and tables tell."""

    frame: pl.DataFrame
    classes: tuple[str, ...]
    grouping: str
    roles: Mapping[str, ColumnRole] = field(default_factory=dict)
    id_certainty: Mapping[str, Certainty] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """An image in a tree of class folders; `split` is None where the tree has no splits."""

    path: str
    split: str | None
    label: str


def only_images(names: Sequence[str], unnamed: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The names that are images, and a note that counts the others by suffix (empty when there are none).

    Args:
        unnamed: names that are images although their suffix does not say so.
    """
    images = [name for name in names if is_image_name(name) or name in unnamed]
    known = set(images)
    others = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names if name not in known)
    counted = ", ".join(f"{suffix} {count:,}" for suffix, count in sorted(others.items()))
    return images, [f"Files that are no images are skipped: {counted}."] if others else []


def place_in_folders(images: Sequence[str]) -> tuple[list[Placed], list[str]]:
    """Split and class of every image in `<class>/...` or `<split>/<class>/...`, and notes on what is left out.

    Raises:
        DataError: no image lies in a class folder, or top folders are part splits, part classes.
    """
    tops = sorted({name.partition("/")[0] for name in images if "/" in name})
    splits = [top for top in tops if top.lower() in SPLIT_FOLDERS]
    if splits and len(splits) < len(tops):
        others = [top for top in tops if top not in splits]
        raise DataError(
            f"Top folders with images must be all splits or all classes. Got splits {', '.join(splits)} beside "
            f"{', '.join(others[:5])}. Move one kind elsewhere."
        )
    depth = 2 if splits else 1  # folders above a file: at least so many
    placed, outside = [], 0
    for name in images:
        parts = name.split("/")
        if len(parts) <= depth:
            outside += 1
        else:
            placed.append(Placed(name, SPLIT_FOLDERS[parts[0].lower()] if splits else None, parts[depth - 1]))
    if not placed:
        raise DataError(
            f"Images must lie in class folders. Got {outside:,} that do not. Sort them into <class>/ folders."
        )
    return placed, [f"Images outside a class folder are left out: {outside:,}."] if outside else []


def require_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The class names, sorted.

    Raises:
        DataError: two differ by case or white space around them alone, or one cannot be a header.
    """
    classes = tuple(sorted(set(labels)))
    require_class_names(classes)
    return classes


def name_samples(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """A sample_id for every path: the file stem where all stems differ, else the whole path; and a note on it."""
    stems = [PurePosixPath(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems, []
    repeated = sum(count for count in Counter(stems).values() if count > 1)
    return list(paths), [f"Images with the file name of another: {repeated:,}; so sample_id is the whole path."]
