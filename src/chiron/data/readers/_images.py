"""Which image a row of a table means: by path, by file name, or by a name without its ending."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from chiron.core.errors import DataError
from chiron.preprocess.decode import IMAGE_SUFFIXES


def find_images(ids: Sequence[str], images: Sequence[str]) -> list[str | None]:
    """The image of every id: a path, a file name, or a name without its ending; None where there is none.

    Names that differ only in how Unicode writes an accent are the same.

    Raises:
        DataError: an id fits several images, or two ids fit the same one.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for image in images:
        path = PurePosixPath(_plain(image))
        by_name[path.name].append(image)
        by_name[path.stem].append(image)
    found = [_find(name, by_name) for name in ids]
    twice = [path for path, count in Counter(found).items() if path is not None and count > 1]
    if twice:
        rivals = [name for name, path in zip(ids, found, strict=True) if path == twice[0]]
        raise DataError(f"Every image must stand in one row. Got {_listed(rivals)} for {twice[0]}. Remove one.")
    return found


def _find(name: str, by_name: Mapping[str, Sequence[str]]) -> str | None:
    wanted = _wanted(name)
    candidates = by_name.get(wanted.name, ())
    if not candidates and wanted.suffix.lower() in IMAGE_SUFFIXES:  # a.jpg in the table, a.png in the folder
        candidates = by_name.get(wanted.stem, ())
    if len(candidates) > 1:
        exact = [path for path in candidates if _plain(path) == str(wanted)]
        ends = [path for path in candidates if _ends_with(PurePosixPath(_plain(path)), wanted)]
        candidates = exact or ends
    if len(candidates) > 1:
        raise DataError(
            f"An image id must fit one file. Got {name!r}, which fits {_listed(candidates)}. "
            "Write its path into the table."
        )
    return candidates[0] if candidates else None


def _ends_with(path: PurePosixPath, wanted: PurePosixPath) -> bool:
    """Whether a path ends with the wanted folders and name, with or without the image's ending."""
    tail = path.parts[-len(wanted.parts) :]
    return tail == wanted.parts or (*tail[:-1], path.stem) == wanted.parts


def names_one_of(ids: Sequence[str], images: Sequence[str]) -> bool:
    """Whether at least one id has an image."""
    known = {name for image in images for path in [PurePosixPath(_plain(image))] for name in (path.name, path.stem)}
    wanted = (_wanted(name) for name in ids)
    return any(path.name in known or (path.suffix.lower() in IMAGE_SUFFIXES and path.stem in known) for path in wanted)


def expected_path(name: str) -> str:
    """The path that a missing image would have; never one outside of the data set."""
    last = PurePosixPath(name.replace("\\", "/")).name or name
    return last if PurePosixPath(last).suffix.lower() in IMAGE_SUFFIXES else f"{last}.jpg"


def short_names(ids: Sequence[str]) -> list[str]:
    """Names of the samples: ids without folder and image ending where they stay different, else as they are."""
    short = [PurePosixPath(name.replace("\\", "/")) for name in ids]
    stems = [path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name for path in short]
    return stems if len(set(stems)) == len(stems) else list(ids)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _wanted(name: str) -> PurePosixPath:
    """What a table calls an image, also one that was written on Windows."""
    return PurePosixPath(_plain(name.replace("\\", "/")).removeprefix("./"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
