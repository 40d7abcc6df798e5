"""ImageSource: one way to the images of a folder, a zip (read in place) or a MedMNIST npz."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from chiron.core.errors import DataError
from chiron.data.local_names import LOCAL_NAMES, locate, read_local_names
from chiron.data.sources.folder import Folder
from chiron.data.sources.npz import Npz
from chiron.data.sources.safety import BROKEN_ARCHIVE
from chiron.data.sources.zip_file import ZipFile
from chiron.preprocess.canonical import MAGIC_BYTES
from chiron.preprocess.decode import CanonicalImage, decode_array, decode_image
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.input_spec import InputSpec


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
        return opened.walk()[1] if isinstance(opened, Folder) else []

    def read_bytes(self, path: str) -> bytes:
        """The bytes of one file; of an npz row its pixels.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        return self._open().read_bytes(path)

    def file_bytes(self, path: str) -> bytes | None:
        """The bytes of one file; None where the image is a row of an array and no file.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        opened = self._open()
        if isinstance(opened, _Named):
            source, name = opened.find(path)
            return source.file_bytes(name)
        return None if isinstance(opened, Npz) else opened.read_bytes(path)

    @contextmanager
    def open(self, path: str) -> Iterator[io.BufferedIOBase]:
        """One file, of which no more is read than is asked for where it lies in a folder.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        opened = self._open()
        if isinstance(opened, Folder):
            with opened.open(path) as stream:
                yield stream
        else:
            yield io.BytesIO(opened.read_bytes(path))

    def read_start(self, path: str) -> bytes:
        """As many of the first bytes of one file as tell whether it is DICOM.

        Raises:
            DataError: there is no such file, or it cannot be read.
        """
        with self.open(path) as stream:
            return stream.read(MAGIC_BYTES)

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
        if isinstance(opened, _Named) and opened.is_row(path):
            source, name = opened.find(path)
            return source.decode(name)
        if isinstance(opened, Npz):
            return decode_array(opened.row(path), path)
        return decode_image(opened.read_bytes(path) if data is None else data, path, min_side=min_side)

    def stored(self, path: str, spec: InputSpec) -> StoredImage:
        """`decode` and `canonical resize` of one image: what training, evaluation and prediction see."""
        return canonical_resize(self.decode(path, min_side=spec.decode_min_side), spec)

    def array(self, key: str) -> np.ndarray | None:
        """The array `key` of an npz; None when it has no such array."""
        opened = self._open()
        return opened.array(key) if isinstance(opened, Npz) else None

    def keys(self) -> list[str]:
        """Names of the arrays of an npz; empty for files."""
        opened = self._open()
        return opened.keys if isinstance(opened, Npz) else []

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
        return Folder(root)
    kinds: dict[str, Callable[[Path], _Opened]] = {".zip": ZipFile, ".npz": Npz}
    if root.is_file() and root.suffix.lower() in kinds:
        try:
            return kinds[root.suffix.lower()](root)
        except BROKEN_ARCHIVE as error:
            raise DataError(
                f"A data source must be a complete {root.suffix.lower()[1:]} file. Got {error} in {root}. Get it again."
            ) from error
    if root.name == LOCAL_NAMES and root.is_file():
        return _Named(root)
    what = "another file" if root.exists() else "a path that does not exist"
    raise DataError(
        f"A data source must be a folder, a table, a .zip or an .npz file. Got {what}: {root}. Check the path."
    )


class _Named:
    """Images of private tables: found by hash in whatever source they lie in."""

    def __init__(self, root: Path) -> None:
        self.root, self.known = root, read_local_names(root)
        self.sources: dict[Path, ImageSource] = {}

    def names(self) -> list[str]:
        """The hashes of those images that are where the file says."""
        there: dict[Path, set[str]] = {}
        found = []
        for name in self.known:
            root, path = locate(self.root, self.known, name)
            if root not in there:
                there[root] = set(ImageSource(root).names()) if root.exists() else set()
            found += [name] if path in there[root] else []
        return sorted(found)

    def find(self, path: str) -> "tuple[ImageSource, str]":
        """The source that holds the image, and its path there."""
        root, name = locate(self.root, self.known, path)
        return self.sources.setdefault(root, ImageSource(root)), name

    def is_row(self, path: str) -> bool:
        """Whether the image is a row of an array."""
        return self.find(path)[0].is_npz

    def read_bytes(self, path: str) -> bytes:
        source, name = self.find(path)
        try:
            return source.read_bytes(name)
        except DataError:  # its message names the file
            raise DataError(
                f"An image file must be readable. Got {path}, which is not; {self.root.name} says where it lies."
            ) from None
