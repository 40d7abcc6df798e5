"""Unpacking a downloaded archive, which nobody has looked into yet: only files, only inside, only so large."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import Any

from chiron.core.errors import DataError
from chiron.core.files import new_folder
from chiron.data.sources.safety import require_inside

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARCHIVE_SUFFIXES = (".zip", *TAR_SUFFIXES)
_CHUNK_BYTES = 1 << 20
_MAX_RATIO, _ALWAYS_ALLOWED_BYTES = 300, 64 << 20
_BYTES_OF_AN_EMPTY_FILE = 512  # a million empty files fill a disk too
_MAX_HEADER_BYTES = 64 << 10  # of one file in a tar, with its long name; tarfile reads all of it into memory
_BROKEN = (  # all that zipfile and tarfile raise for damaged archives, but for OSError
    zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError,
)  # fmt: skip
_PACKED_TARS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}  # by their first bytes


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar into `folder`, which appears only when all is there; a folder that stood there is replaced.

    Rights, owners and dates in the archive are not taken over; empty folders are left out. All that comes out of its
    compression counts against the budget, headers and skipped bytes of a tar included.

    Raises:
        DataError: the archive is damaged, or holds a link, a device, a name that leads outside, a name twice, a header
            of more than 64 kB, or far more bytes than its size can mean.
        OutputError: the disk is full or cannot be written.
    """
    budget = _Budget(archive)
    with new_folder(folder) as temporary:
        try:
            for name, read in _files(archive):
                inside = require_inside(name.replace("\\", "/"), archive)
                _write(read, temporary / inside, budget)
        except _BROKEN as error:
            raise _damaged(archive, error) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(archive, error) from error  # gzip and bz2 tell of bad bytes in this way


def _files(archive: Path) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Names of all regular files, and how to read them; anything else but folders is refused."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise _not_a_file(info.filename, archive)
                if not info.is_dir():
                    with packed.open(info) as stream:
                        yield info.filename, stream.read
        return
    with _unpacked(archive) as stream:
        reader = _TarReader(stream, archive)
        tar: Any = tarfile.TarFile(fileobj=reader)
        while (member := tar.next()) is not None:
            tar.members.clear()  # where it keeps every header
            if not member.isreg() and not member.isdir():
                raise _not_a_file(member.name, archive)
            content = tar.extractfile(member)  # None for a folder
            if content is not None:
                reader.header_left = None
                yield member.name, content.read
            reader.header_left = _MAX_HEADER_BYTES
        reader.header_left = None
        while reader.read(_CHUNK_BYTES):
            pass  # gzip's checksum stands at the very end, where a tar is read no further


def _unpacked(archive: Path) -> BufferedIOBase:
    with archive.open("rb") as stream:
        start = stream.read(6)
    opened: Callable[..., Any] = next((how for mark, how in _PACKED_TARS.items() if start.startswith(mark)), open)
    return opened(archive, "rb")


class _TarReader(RawIOBase):
    """The bytes of a tar from front to back, as tarfile asks for them; those that it skips count as well.

    A header says itself how long it is and is asked for at once, so one that is too long is stopped before it is read.
    """

    def __init__(self, stream: BufferedIOBase, archive: Path) -> None:
        super().__init__()
        self.stream, self.budget, self.place = stream, _Budget(archive), 0
        self.header_left: int | None = _MAX_HEADER_BYTES  # None while a file's content is read

    def read(self, size: int = -1) -> bytes:
        if self.header_left is not None:
            self.header_left -= size
            if self.header_left < 0:
                raise DataError(
                    f"The header of a file in a tar must have at most {_MAX_HEADER_BYTES >> 10} kB. Got a longer one "
                    f"in {self.budget.archive}. Do not use it."
                )
        data = self.stream.read(size)
        self.place += len(data)
        self.budget.spend(len(data))
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        if place < self.place:
            raise tarfile.StreamError("a header that leads back")
        left = place - self.place
        while left and (data := self.stream.read(min(left, _CHUNK_BYTES))):
            left -= len(data)
            self.place += len(data)
            self.budget.spend(len(data))
        return self.place

    def tell(self) -> int:
        return self.place

    def seekable(self) -> bool:
        return False


def _write(read: Callable[[int], bytes], target: Path, budget: "_Budget") -> None:
    budget.spend(_BYTES_OF_AN_EMPTY_FILE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        output = target.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(
            f"Every file in an archive must have its own name. Got {target.name!r} twice in {budget.archive}. "
            "Pack it again."
        ) from None
    with output:
        while chunk := read(_CHUNK_BYTES):
            budget.spend(len(chunk))
            output.write(chunk)


class _Budget:
    """How many bytes an archive may still unpack to; counted as they come, for what it says of itself may be a lie."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * archive.stat().st_size)

    def spend(self, num_bytes: int) -> None:
        self.left -= num_bytes
        if self.left < 0:
            raise DataError(
                f"An archive must unpack to at most {_MAX_RATIO} times its size. Got more: {self.archive}. "
                "Do not use it."
            )


def _not_a_file(name: str, archive: Path) -> DataError:
    return DataError(f"An archive must hold only files and folders. Got a link or device: {name!r} in {archive}.")


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"An archive must unpack completely. Got {error} in {archive}. Get it again.")
