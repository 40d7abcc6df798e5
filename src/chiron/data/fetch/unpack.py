"""Unpacking a downloaded archive, which nobody has looked into yet: only files, only inside, only so large."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chiron.core.errors import DataError
from chiron.core.files import new_folder
from chiron.data.source import require_inside

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARCHIVE_SUFFIXES = (".zip", *TAR_SUFFIXES)
_CHUNK_BYTES = 1 << 20
_MAX_RATIO, _ALWAYS_ALLOWED_BYTES = 300, 64 << 20
_BYTES_OF_AN_EMPTY_FILE = 512  # a million empty files fill a disk too


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar into `folder`, which appears only when all is there; a folder that stood there is replaced.

    Rights, owners and dates in the archive are not taken over; empty folders are left out.

    Raises:
        DataError: the archive is damaged, or holds a link, a device, a name that leads outside, a name twice, or far
            more bytes than its size can mean.
        OutputError: the disk is full or cannot be written.
    """
    left = max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * archive.stat().st_size)
    with new_folder(folder) as temporary:
        try:
            for name, stream in _files(archive):
                inside = require_inside(name.replace("\\", "/"), archive)
                left = _write(stream, temporary / inside, left - _BYTES_OF_AN_EMPTY_FILE, archive)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error, lzma.LZMAError) as error:
            raise _damaged(archive, error) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(archive, error) from error  # gzip and bz2 tell of bad bytes in this way


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of all regular files; anything else but folders is refused."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise _not_a_file(info.filename, archive)
                if not info.is_dir():
                    with packed.open(info) as stream:
                        yield info.filename, stream
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isreg() and not member.isdir():
                raise _not_a_file(member.name, archive)
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is not None:
                yield member.name, stream


def _write(stream: IO[bytes], target: Path, left: int, archive: Path) -> int:
    """Writes one file; returns how many bytes the archive may still unpack to."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        output = target.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(
            f"Every file in an archive must have its own name. Got {target.name!r} twice in {archive}. Pack it again."
        ) from None
    with output:
        while chunk := stream.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise DataError(
                    f"An archive must unpack to at most {_MAX_RATIO} times its size. "
                    f"Got more: {archive}. Do not use it."
                )
            output.write(chunk)
    return left


def _not_a_file(name: str, archive: Path) -> DataError:
    return DataError(f"An archive must hold only files and folders. Got a link or device: {name!r} in {archive}.")


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"An archive must unpack completely. Got {error} in {archive}. Get it again.")
