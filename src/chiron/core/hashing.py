"""Content hashes and seeds: everything whose value must be the same on every machine."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

_SHOWN_DIGITS = 12


def sha256_bytes(data: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read piece by piece."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order."""
    return sha256_bytes(canonical_json(value).encode())


def seed_of(*names: int | str) -> int:
    """A 63-bit seed that is a function of names alone, never of worker, process or call order.

    Example:
        >>> seed_of("augment", 0, 3, "img-1", 0) == seed_of("augment", 0, 3, "img-1", 0)
        True
    """
    return int.from_bytes(hashlib.sha256(canonical_json(list(names)).encode()).digest()[:8], "big") >> 1


def keyed_hash(key: bytes, name: str) -> str:
    """12 hexadecimal digits of HMAC-SHA256: the same for the same name and key, and not undone without the key.

    A plain hash of a record number is undone by counting.

    Source: RFC 2104.
    Example:
        >>> keyed_hash(b"key", "The quick brown fox jumps over the lazy dog")
        'f7bc83f43053'
    """
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:_SHOWN_DIGITS]
