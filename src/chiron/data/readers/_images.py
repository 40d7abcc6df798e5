"""Which image a row of a table means: by path, by file name, or by a name without its ending."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from chiron.core.errors import DataError
from chiron.preprocess.decode import IMAGE_SUFFIXES

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


class ImageIndex:
    """The images of a source by what tables may call them.

    A name fits an image when its last part is the file's name, or the name without its ending, whatever the case and
    however Unicode writes an accent. Folders that a name states must be the image's own folders; of an absolute path
    from another machine the end must be the image's whole path.
    """

    def __init__(self, images: Sequence[str], root: Path) -> None:
        base = root if root.is_dir() else root.with_suffix("")
        self.above = tuple(_plain(part) for part in base.absolute().parts)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for image in images:
            self.by_stem[_stem(PurePosixPath(_plain(image))).casefold()].append(image)

    def fitting(self, name: str, *, other_ending: bool = False) -> list[str]:
        """All images that a name fits; with `other_ending` also `a.png` for `a.jpg`."""
        wanted = _wanted(name)
        candidates = [image for image in self.by_stem.get(_stem(wanted).casefold(), ()) if self._fits(wanted, image)]
        if wanted.suffix.lower() in IMAGE_SUFFIXES:
            same = [image for image in candidates if image.lower().endswith(wanted.suffix.lower())]
            candidates = same or (candidates if other_ending else [])
        exact = [image for image in candidates if _stem(PurePosixPath(_plain(image))) == _stem(wanted)]
        candidates = exact or candidates
        whole = [image for image in candidates if _plain(image) == str(wanted)]
        return whole or candidates

    def _fits(self, wanted: PurePosixPath, image: str) -> bool:
        inside = PurePosixPath(_plain(image)).parts[:-1]
        folders = tuple(part for part in wanted.parts[:-1] if part not in ("/", "."))
        if not folders:
            return True
        if _ABSOLUTE.match(str(wanted)) and _ends(folders, inside):
            return True
        return _ends((*self.above, *inside), folders)


def find_images(ids: Sequence[str], index: ImageIndex) -> tuple[list[str | None], list[str]]:
    """The image of every id, None where there is none; and a note where images have another ending than in the table.

    Another ending counts only where no id has an image with its own.

    Raises:
        DataError: an id fits several images, or two ids fit the same one.
    """
    if not index.by_stem:
        return [None] * len(ids), []
    found = [_one(name, index.fitting(name)) for name in ids]
    notes = []
    endings = [_wanted(name).suffix.lower() in IMAGE_SUFFIXES for name in ids]
    if any(endings) and not any(path for path, ends in zip(found, endings, strict=True) if ends):
        others = [_one(name, index.fitting(name, other_ending=True)) for name in ids]
        changed = [path for path, before in zip(others, found, strict=True) if path != before and path is not None]
        if changed:
            notes.append(f"Images with another ending than in the table: {len(changed):,} (such as {changed[0]}).")
        found = others
    twice = [path for path, count in Counter(found).items() if path is not None and count > 1]
    if twice:
        rivals = [name for name, path in zip(ids, found, strict=True) if path == twice[0]]
        raise DataError(f"Every image must stand in one row. Got {_listed(rivals)} for {twice[0]}. Remove one.")
    return found, notes


def _one(name: str, fitting: Sequence[str]) -> str | None:
    if len(fitting) > 1:
        raise DataError(
            f"An image id must fit one file. Got {name!r}, which fits {_listed(fitting)}. "
            "Write its path into the table."
        )
    return fitting[0] if fitting else None


def num_named(ids: Sequence[str], index: ImageIndex) -> int:
    """How many ids fit an image, also one with another ending."""
    return sum(bool(index.fitting(name, other_ending=True)) for name in ids) if index.by_stem else 0


def plain_id(name: str) -> str:
    """An id as other tables may write it: without ending, with one kind of slash and accent."""
    wanted = _wanted(name)
    return str(wanted.with_name(_stem(wanted))) if wanted.name else str(wanted)


def expected_path(name: str) -> str:
    """The path that a missing image would have; never one outside of the data set."""
    wanted = PurePosixPath(name.replace("\\", "/"))
    inside = not _ABSOLUTE.match(str(wanted)) and ".." not in wanted.parts
    path = str(wanted) if inside and wanted.name else (wanted.name or name)
    return path if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES else f"{path}.jpg"


def short_names(ids: Sequence[str]) -> list[str]:
    """Names of the samples: ids without folder and image ending where they stay different, else as they are."""
    short = [PurePosixPath(name.replace("\\", "/")) for name in ids]
    stems = [_stem(path) if path.name else str(path) for path in short]
    return stems if len(set(stems)) == len(stems) else list(ids)


def _stem(path: PurePosixPath) -> str:
    """The name without the ending of an image; another dot belongs to the name."""
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _ends(whole: Sequence[str], tail: Sequence[str]) -> bool:
    return not tail or tuple(whole[-len(tail) :]) == tuple(tail)


def _wanted(name: str) -> PurePosixPath:
    """What a table calls an image, also one that was written on Windows."""
    return PurePosixPath(_plain(name.replace("\\", "/")).removeprefix("./"))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
