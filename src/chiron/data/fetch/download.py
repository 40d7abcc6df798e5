"""Downloading one file: resumed where it stopped, checked, and under its name only when it is whole.

Beside `<name>.part` lies `<name>.part.json`: from where the bytes come and the server's mark of this very content (ETag
or Last-Modified), without which bytes of two versions could be joined. Source: RFC 9110, 13.1.5 and 14.
"""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from chiron.core.errors import FetchError, OutputError, SpecError
from chiron.core.files import move_into_place, output_error, write_text
from chiron.data.fetch.http import PassingError, RefusedError, network_error, open_url, public_url, with_retries

_CHUNK_BYTES = 1 << 16
_PROGRESS_SECONDS = 5.0
_DIGEST_CHARS = {"sha256": 64, "md5": 32}

log = logging.getLogger("chiron.fetch")


@dataclass(frozen=True)
class Downloaded:
    """A whole file: its size and SHA-256, and the checksum that was compared (None when none was given)."""

    num_bytes: int
    sha256: str
    verified: str | None


def require_checksum(text: str) -> str:
    """`text` in lower case, when it is `sha256:` or `md5:` and as many hexadecimal digits as that takes.

    Raises:
        SpecError: it is something else.
    """
    algorithm, _, digest = text.lower().partition(":")
    if not re.fullmatch(f"[0-9a-f]{{{_DIGEST_CHARS.get(algorithm, 0)}}}", digest) or algorithm not in _DIGEST_CHARS:
        raise SpecError(
            "A checksum must be sha256: and 64, or md5: and 32 hexadecimal digits. "
            f"Got {text!r}. Copy it again from where the data set is described."
        )
    return f"{algorithm}:{digest}"


def digest_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def download(
    url: str,
    path: Path,
    *,
    checksum: str | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
    secret: str = "",
) -> Downloaded:
    """Downloads `url` to `path`; continues a download that was stopped; tries again when the connection breaks.

    Args:
        url: https or http; its query is never printed or stored.
        path: the file to write; a file that stands there is replaced at the end.
        checksum: `sha256:...` or `md5:...` that the file must have.
        headers: further headers, for the host of `url` alone.
        max_bytes: a larger file is refused.
        secret: a part of `url` that no other host may see.
    Raises:
        SpecError: the address or checksum is malformed, the server refuses, or the file is too large.
        FetchError: the server cannot be reached, or its bytes are not the promised ones (they are removed).
        OutputError: the disk is full or cannot be written.
    """
    expected = require_checksum(checksum) if checksum else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    part = _Part(path, public_url(url))
    with_retries(lambda: _transfer(url, part, headers or {}, max_bytes, secret), part.num_bytes)
    sha256 = digest_of(part.path, "sha256")
    if expected:
        algorithm, digest = expected.split(":")
        found = sha256 if algorithm == "sha256" else digest_of(part.path, algorithm)
        if found != digest:
            part.remove()
            raise FetchError(
                f"The download must have {algorithm} {digest}. Got {found} from {part.source}; the file is removed. "
                "Check the checksum, then download again."
            )
    downloaded = Downloaded(part.num_bytes(), sha256, expected)
    move_into_place(part.path, path)
    part.remove()
    return downloaded


class _Part:
    """The unfinished file and the note beside it."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.name, self.source = path.name, source

    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def noted(self) -> dict[str, Any]:
        """What is known about the bytes that are here; empty when they cannot be continued."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) and noted.get("source") == self.source else {}

    def begin(self, mark: str | None, total: int | None) -> None:
        """Starts from nothing. The old bytes go first, so that they never lie beside the mark of the new ones."""
        self.remove()
        write_text(self.note, json.dumps({"source": self.source, "mark": mark, "num_bytes": total}))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _transfer(url: str, part: _Part, headers: Mapping[str, str], max_bytes: int | None, secret: str) -> None:
    """One connection: the file is whole afterwards, or an error tells why it is not."""
    noted, start = part.noted(), part.num_bytes()
    if start and start == noted.get("num_bytes"):
        return  # stopped between the last byte and the new name
    ask = {"Range": f"bytes={start}-", "If-Range": noted["mark"]} if start and noted.get("mark") else {}
    try:
        response = open_url(url, {**headers, **ask}, secret=secret)
    except RefusedError as error:
        if error.status != 416:
            raise
        part.remove()
        raise PassingError(f"The server must have the bytes after {start:,}. Got fewer; starting again.") from None
    with response:
        if response.status == 206 and ask:
            total = _total_of_range(response, start, noted, part)
            log.info("%s: continued after %s", part.name, _in_units(start))
        elif response.status == 200:
            if ask:
                log.info("%s: the server sends it from the start", part.name)
            start, total = 0, _length(response)
            part.begin(_mark(response), total)
            if total is None and not response.chunked:
                log.warning("%s: the server does not say how long it is; only a checksum can tell a part", part.name)
        else:
            raise FetchError(f"The server must send the file. Got code {response.status} from {part.source}. Check it.")
        _require_room(part, start, total, max_bytes)
        _receive(response, part, total, max_bytes)


def _receive(response: HTTPResponse, part: _Part, total: int | None, max_bytes: int | None) -> None:
    have = part.num_bytes()
    progress = _Progress(part.name, have, total)
    with part.path.open("ab", buffering=0) as stream:  # unbuffered: what Ctrl-C leaves is what has arrived
        while total is None or have < total:
            try:
                chunk = response.read1(_CHUNK_BYTES if total is None else min(_CHUNK_BYTES, total - have))
            except (OSError, HTTPException) as error:
                raise network_error(error, part.source) from None
            if not chunk:
                break
            _write(stream, chunk, part.path)
            have += len(chunk)
            progress.tell(have)
            _require_size(part, have, max_bytes)
    if total is not None and have < total:
        raise PassingError(
            f"The server must send all {total:,} bytes. Got {have:,} from {part.source}. Run the same command again; "
            "what has arrived is kept."
        )


def _write(stream: Any, chunk: bytes, path: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError as error:
        raise output_error(path, error) from error


def _require_room(part: _Part, start: int, total: int | None, max_bytes: int | None) -> None:
    if total is None:
        return
    _require_size(part, total, max_bytes)
    free = shutil.disk_usage(part.path.parent).free
    if total - start > free:
        raise OutputError(
            f"The disk must have room for {_in_units(total - start)} more. Got {_in_units(free)} free at "
            f"{part.path.parent}. Free space or choose another place with --out."
        )


def _require_size(part: _Part, num_bytes: int, max_bytes: int | None) -> None:
    if max_bytes is not None and num_bytes > max_bytes:
        part.remove()
        raise SpecError(
            f"The download must be at most {_in_units(max_bytes)}. Got {_in_units(num_bytes)} or more from "
            f"{part.source}. Raise --max-gb if that is right."
        )


def _mark(response: HTTPResponse) -> str | None:
    """What tells this content from another: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _length(response: HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _total_of_range(response: HTTPResponse, start: int, noted: dict[str, Any], part: _Part) -> int | None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    total = int(found[2]) if found and found[2] != "*" else noted.get("num_bytes")
    if not found or int(found[1]) != start or total != (noted.get("num_bytes") or total):
        part.remove()
        raise PassingError(f"The server must continue after byte {start:,}. Got another range; starting again.")
    return total


class _Progress:
    """A line every few seconds, which reads well in a log."""

    def __init__(self, name: str, have: int, total: int | None) -> None:
        self.name, self.total, self.first = name, total, have
        self.started = self.told = time.monotonic()

    def tell(self, have: int) -> None:
        now = time.monotonic()
        if now - self.told < _PROGRESS_SECONDS:
            return
        self.told = now
        of = f" of {_in_units(self.total)} ({100 * have // self.total} %)" if self.total else ""
        log.info(
            "%s: %s%s, %s/s", self.name, _in_units(have), of, _in_units((have - self.first) / (now - self.started))
        )


def _in_units(num_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"
