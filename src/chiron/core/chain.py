"""Append-only files of JSON lines, each of which holds the hash of the one before: a line that is changed, removed or
put in between breaks the chain.
"""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from chiron.core.files import output_error
from chiron.core.hashing import sha256_json

try:
    import fcntl
except ImportError:  # Windows has no such lock; two lines at the same instant are then not serialized
    fcntl = None  # type: ignore[assignment]

__all__ = ["append_to_chain", "read_chain"]

_PIECE = 1 << 16


def append_to_chain(path: Path, said: dict[str, Any], *, sync: bool = False) -> None:
    """Appends one line: what is `said`, the hash of the line before, and its own.

    Args:
        sync: whether the line is on the disk, not only with the system, when this returns.
    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            if fcntl is not None:
                fcntl.flock(stream, fcntl.LOCK_EX)
            last = _last_line(stream)
            entry = {**said, "before": _hash_in(last)}
            entry["hash"] = sha256_json(entry)
            whole_line = "" if last.endswith(b"\n") or not last else "\n"  # of a writer that was stopped inside a line
            stream.write((whole_line + json.dumps(entry, ensure_ascii=False) + "\n").encode())
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
    except OSError as error:
        raise output_error(path, error) from error


def read_chain(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines that can be read, without their hashes, and whether the chain of all lines holds.

    A missing file is an empty chain.
    """
    found, before, whole = [], "", True
    if not path.is_file():
        return [], True
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        try:
            entry = json.loads(line)
            stated = entry.pop("hash")
            whole = whole and stated == sha256_json(entry) and entry["before"] == before
            before = stated
            found.append(entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
    return found, whole


def _last_line(stream: BinaryIO) -> bytes:
    """The last line that is not blank, with its end if it has one; read from the end, however long the file is."""
    place, tail = stream.seek(0, os.SEEK_END), b""
    while place > 0 and b"\n" not in tail.rstrip():
        size = min(_PIECE, place)
        place = stream.seek(place - size)
        tail = stream.read(size) + tail
    lines = [line for line in tail.splitlines(keepends=True) if line.strip()]
    return lines[-1] if lines else b""


def _hash_in(line: bytes) -> str:
    """What the next line points to; a damaged line leaves the chain broken."""
    try:
        return json.loads(line)["hash"] if line else ""
    except (ValueError, KeyError, TypeError):
        return "damaged"
