"""ImageSource: one way to the images of a folder, a zip (read in place) or a MedMNIST npz."""

import lzma
import os
import re
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

from chiron.core.errors import DataError
from chiron.data.local_names import LOCAL_NAMES, locate, read_local_names
from chiron.preprocess.canonical import MAGIC_BYTES
from chiron.preprocess.decode import CanonicalImage, decode_array, decode_image
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.input_spec import InputSpec

# Folder names that say which split their images belong to, in lower case.
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "cal": "cal",
    "test": "test",
    "external": "external",
}
_RUN_FILES = ("run.json", "recipe.yaml")  # a folder that holds both is the output of a training
_BROKEN_ARCHIVE = (  # all that zipfile and numpy raise for damaged or foreign files, memory for absurd shapes included
    OSError, ValueError, RuntimeError, NotImplementedError, EOFError, OverflowError, MemoryError, SyntaxError,
    struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")  # of Windows; "a: b" may be the name of a class
_MAX_FILE_BYTES = 2 << 30  # more than an image of the largest accepted size takes when it is not compressed at all
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 300  # a file this large that shrinks this much is no picture of a patient


class ImageSource:
    """Reads images by their relative path; picklable, lazy, safe to use from several threads and processes.

    Args:
        root: a folder, a `.zip` file, or an `.npz` file with arrays `<split>_images`. A zip that holds one top folder
            is seen from inside that folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._opened: tuple[int, _Opened] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Path]:
        return {"root": self.root}  # handles and locks stay in their process

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"ImageSource({str(self.root)!r})"

    @property
    def is_npz(self) -> bool:
        """Whether images are rows of arrays, not files."""
        return self.root.suffix.lower() == ".npz"

    def names(self) -> list[str]:
        """Sorted relative posix paths of all files (hidden ones left out); in an npz `train#0`, `train#1`, ...

        Raises:
            DataError: the source does not exist, cannot be opened, or is not safe to read.
        """
        return self._open().names()

    def run_folders(self) -> list[str]:
        """Sorted folders of trainings inside the source, which `names` leaves out: their figures are no data.

        Only a source that is a folder is searched for them.
        """
        opened = self._open()
        return opened.walk()[1] if isinstance(opened, _Folder) else []

    def read_bytes(self, path: str) -> bytes:
        """The bytes of one file; of an npz row its pixels.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        return self._open().read_bytes(path)

    def read_start(self, path: str) -> bytes:
        """As many of the first bytes of one file as tell whether it is DICOM.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        opened = self._open()
        if isinstance(opened, _Folder):
            with opened.open(path) as stream:
                return stream.read(MAGIC_BYTES)
        return opened.read_bytes(path)[:MAGIC_BYTES]

    def decode(self, path: str, *, data: bytes | None = None, min_side: int | None = None) -> CanonicalImage:
        """The canonical array of one image.

        Args:
            data: its bytes, where they have been read.
            min_side: see `decode_image`; without it the image is decoded in full, as its hash of pixels is.
        Raises:
            DataError: there is no such file, or it cannot be read.
            PreprocessError: the content is not a complete image.
        """
        opened = self._open()
        if isinstance(opened, _Named):
            source, name = opened.find(path)
            return source.decode(name, data=data, min_side=min_side)
        if isinstance(opened, _Npz):
            return decode_array(opened.row(path), path)
        return decode_image(opened.read_bytes(path) if data is None else data, path, min_side=min_side)

    def stored(self, path: str, spec: InputSpec) -> StoredImage:
        """`decode` and `canonical resize` of one image: what training, evaluation and prediction see."""
        return canonical_resize(self.decode(path, min_side=spec.decode_min_side), spec)

    def array(self, key: str) -> np.ndarray | None:
        """The array `key` of an npz; None when it has no such array."""
        opened = self._open()
        return opened.array(key) if isinstance(opened, _Npz) else None

    def keys(self) -> list[str]:
        """Names of the arrays of an npz; empty for files."""
        opened = self._open()
        return opened.keys if isinstance(opened, _Npz) else []

    def _open(self) -> "_Opened":
        opened = self._opened
        if opened is None or opened[0] != os.getpid():  # a forked child must not share file positions with its parent
            with self._lock:
                if self._opened is None or self._opened[0] != os.getpid():
                    self._opened = (os.getpid(), _open(self.root))
                opened = self._opened
        return opened[1]


@runtime_checkable
class _Opened(Protocol):
    def names(self) -> list[str]: ...
    def read_bytes(self, path: str) -> bytes: ...


def _open(root: Path) -> _Opened:
    if root.is_dir():
        return _Folder(root)
    kinds: dict[str, Callable[[Path], _Opened]] = {".zip": _Zip, ".npz": _Npz}
    if root.is_file() and root.suffix.lower() in kinds:
        try:
            return kinds[root.suffix.lower()](root)
        except _BROKEN_ARCHIVE as error:
            raise DataError(
                f"A data source must be a complete {root.suffix.lower()[1:]} file. Got {error} in {root}. Get it again."
            ) from error
    if root.name == LOCAL_NAMES and root.is_file():
        return _Named(root)
    what = "another file" if root.exists() else "a path that does not exist"
    raise DataError(f"A data source must be a folder, a .zip or an .npz file. Got {what}: {root}. Check the path.")


class _Named:
    """Images of private tables: found by hash in whatever source they lie in."""

    def __init__(self, root: Path) -> None:
        self.root, self.known = root, read_local_names(root)
        self.sources: dict[Path, ImageSource] = {}

    def names(self) -> list[str]:
        return sorted(self.known)

    def find(self, path: str) -> "tuple[ImageSource, str]":
        """The source that holds the image, and its path there."""
        root, name = locate(self.root, self.known, path)
        return self.sources.setdefault(root, ImageSource(root)), name

    def read_bytes(self, path: str) -> bytes:
        source, name = self.find(path)
        return source.read_bytes(name)


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        return self.walk()[0]

    def walk(self) -> tuple[list[str], list[str]]:
        """All files, and the folders of trainings, which are not entered; both sorted, without hidden ones."""
        found, runs = [], []
        for folder, inner, files in os.walk(self.root, followlinks=True, onerror=_refuse_folder):
            here = os.path.realpath(folder)
            # a link to a folder above would be walked for ever
            inner[:] = [name for name in inner if not _leads_back(here, os.path.join(folder, name))]
            relative = Path(folder).relative_to(self.root)
            found += [(relative / name).as_posix() for name in files]
            inside = [name for name in inner if _is_run_folder(Path(folder, name))]
            runs += [(relative / name).as_posix() for name in inside]
            inner[:] = [name for name in inner if name not in inside]
        names, folders = (sorted(name for name in listed if not _is_hidden(name)) for listed in (found, runs))
        return [_require_text(name, self.root) for name in names], folders

    def read_bytes(self, path: str) -> bytes:
        with self.open(path) as stream:
            return stream.read()

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        require_inside(path, self.root)
        try:
            said = (self.root / path).stat()
            if not stat.S_ISREG(said.st_mode) or said.st_size > _MAX_FILE_BYTES:  # reading a pipe would wait for ever
                raise DataError(
                    f"An image must be a file of at most {_MAX_FILE_BYTES >> 30} GiB. Got {said.st_size:,} bytes, or "
                    f"another thing than a file: {path} in {self.root}. Remove it."
                )
            with (self.root / path).open("rb") as stream:
                yield stream
        except OSError as error:
            raise DataError(
                f"An image file must be readable. Got {error.strerror or error}: {path} in {self.root}."
            ) from error


class _Zip:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.zip = zipfile.ZipFile(root)
        self.lock = threading.Lock()  # one file position; decoding, the slow part, happens outside
        members = [info for info in self.zip.infolist() if not info.filename.endswith("/")]
        _refuse_bomb(members, root, max_bytes=_MAX_FILE_BYTES)
        if links := [info.filename for info in members if stat.S_ISLNK(info.external_attr >> 16)]:
            raise DataError(f"A zip must hold files, not links. Got {links[0]!r} in {root}. Pack the files themselves.")
        named = {require_inside(info.filename.replace("\\", "/"), root): info for info in members}
        if len(named) < len(members):
            raise DataError(f"Every file in a zip must have its own name. Got repeated ones in {root}. Pack it again.")
        named = {name: info for name, info in named.items() if not _is_hidden(name)}
        top = _one_top_folder(list(named))
        self.members = {name.removeprefix(top): info for name, info in named.items()}

    def names(self) -> list[str]:
        return sorted(_require_text(name, self.root) for name in self.members)

    def read_bytes(self, path: str) -> bytes:
        info = self.members.get(path)
        if info is None:
            raise DataError(f"An image must be in the zip. Got no {path} in {self.root}. Check the path.")
        try:
            with self.lock:
                return self.zip.read(info)
        except _BROKEN_ARCHIVE as error:
            raise DataError(f"A file in a zip must unpack completely. Got {error}: {path} in {self.root}.") from error


class _Npz:
    def __init__(self, root: Path) -> None:
        self.root = root
        with zipfile.ZipFile(root) as packed:
            _refuse_bomb(packed.infolist(), root, max_bytes=None)
        self.file = np.load(root, allow_pickle=False)
        self.keys = sorted(self.file.files)
        self.lock = threading.Lock()
        self.arrays: dict[str, np.ndarray] = {}

    def array(self, key: str) -> np.ndarray | None:
        if key not in self.keys:
            return None
        with self.lock:
            if key not in self.arrays:
                try:
                    self.arrays[key] = self.file[key]
                except _BROKEN_ARCHIVE as error:
                    raise DataError(
                        f"An array must hold plain numbers or text. Got {error} in {key} of {self.root}. Get it again."
                    ) from error
            return self.arrays[key]

    def names(self) -> list[str]:
        splits = [key.removesuffix("_images") for key in self.keys if key.endswith("_images")]
        return [f"{split}#{row}" for split in splits for row in range(len(self._images(split)))]

    def read_bytes(self, path: str) -> bytes:
        return self.row(path).tobytes()

    def _images(self, split: str) -> np.ndarray:
        images = self.array(f"{split}_images")
        if images is None or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)):
            shape = "no such array" if images is None else f"shape {images.shape}"
            raise DataError(
                f"{split}_images must have shape (n, height, width) or (n, height, width, 1, 3 or 4). "
                f"Got {shape} in {self.root}. Volumes are not read."
            )
        return images

    def row(self, path: str) -> np.ndarray:
        split, _, row = path.partition("#")
        images = self._images(split)
        if not row.isdecimal() or int(row) >= len(images):
            raise DataError(f"A row of {split}_images must be 0 to {len(images) - 1}. Got {path!r} in {self.root}.")
        return images[int(row)]


def require_inside(path: str, root: Path) -> str:
    """`path` itself, when it stays below `root`.

    Raises:
        DataError: it is absolute, or climbs out with `..` ("zip-slip").
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or _DRIVE.match(path):
        raise DataError(f"Every path must stay inside its data source. Got {path!r} in {root}. Remove or rename it.")
    return path


def _is_run_folder(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _RUN_FILES)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(path).parts)


def _one_top_folder(names: list[str]) -> str:
    """`folder/` when all files lie in one folder that is no split; else an empty string."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    top = tops.pop() if len(tops) == 1 else ""
    return f"{top}/" if top and top.lower() not in SPLIT_FOLDERS else ""


def _refuse_bomb(members: list[zipfile.ZipInfo], root: Path, *, max_bytes: int | None) -> None:
    if sum(info.compress_size for info in members) > root.stat().st_size:
        raise DataError(f"Files in an archive must not overlap. Got a bomb: {root}. Do not use it.")
    for info in members:
        ratio = info.file_size / max(info.compress_size, 1)
        too_large = max_bytes is not None and info.file_size > max_bytes
        if too_large or (info.file_size > _BOMB_BYTES and ratio > _BOMB_RATIO):
            raise DataError(
                f"A file in an archive must unpack to at most {_BOMB_RATIO} times its size"
                + (f" and {max_bytes >> 30} GiB. " if max_bytes else ". ")
                + f"Got {info.file_size:,} bytes from {info.compress_size:,}: {info.filename} in {root}. Do not use it."
            )


def _require_text(name: str, root: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"File names must be valid UTF-8. Got {os.fsencode(name)!r} in {root}. Rename it.") from error
    return name


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"A folder of images must be readable. Got {error.strerror}: {error.filename}.") from error


def _leads_back(here: str, inner: str) -> bool:
    if not os.path.islink(inner):
        return False
    target = os.path.realpath(inner)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)
