"""What every source of images asks before it hands out a name or bytes."""

import lzma
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from chiron.core.errors import DataError

MAX_FILE_BYTES = 2 << 30  # more than an image of the largest accepted size takes when it is not compressed at all
BROKEN_ARCHIVE = (  # all that zipfile and numpy raise for damaged or foreign files, memory for absurd shapes included
    OSError, ValueError, RuntimeError, NotImplementedError, EOFError, OverflowError, MemoryError, SyntaxError,
    struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 300  # a file this large that shrinks this much is no picture of a patient
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")  # of Windows; "a: b" may be the name of a class


def require_inside(path: str, root: Path) -> str:
    """`path` itself, when it stays below `root`.

    Raises:
        DataError: it is absolute, or climbs out with `..` ("zip-slip").
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts or _DRIVE.match(path):
        raise DataError(f"Every path must stay inside its data source. Got {path!r} in {root}. Remove or rename it.")
    return path


def is_hidden(path: str) -> bool:
    """Whether a file or one of its folders is hidden, or is what macOS adds to a zip."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(path).parts)


def require_text(name: str, root: Path) -> str:
    """`name` itself, when it is text.

    Raises:
        DataError: its bytes are no UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"File names must be valid UTF-8. Got {os.fsencode(name)!r} in {root}. Rename it.") from error
    return name


def refuse_bomb(members: list[zipfile.ZipInfo], root: Path, *, max_bytes: int | None) -> None:
    """Stops before an archive is unpacked whose files overlap or grow beyond belief.

    Raises:
        DataError: naming the file.
    """
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
