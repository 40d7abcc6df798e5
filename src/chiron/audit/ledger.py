"""The test ledger: append-only, hash-chained; one line for each scoring of a test set in a project.

Recomputing numbers from a stored predictions table is not a look and is not written here.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chiron.core.files import output_error
from chiron.core.hashing import sha256_json

try:
    import fcntl
except ImportError:  # Windows has no such lock; two scorings at the same instant are then not serialized
    fcntl = None  # type: ignore[assignment]

LEDGER = "test_ledger.jsonl"


def project_folder(output: Path) -> Path:
    """The folder that keeps the ledger: the nearest one above `output` that has one, else its parent."""
    parents = output.resolve().parents
    return next((folder for folder in parents if (folder / LEDGER).is_file()), parents[0])


def record_look(project: Path, *, bundle_id: str, contents: Iterable[str], command: str) -> None:
    """Appends one line: this bundle was scored on the test images with these content hashes.

    Args:
        contents: one hash of pixels and label an image; their order does not matter.
    Raises:
        OutputError: the ledger cannot be written.
    """
    path = project / LEDGER
    sorted_contents = sorted(contents)
    try:
        project.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as stream:
            if fcntl is not None:
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            lines = [line for line in stream.read().splitlines() if line.strip()]
            entry: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "bundle_id": bundle_id,
                "test_set": sha256_json(sorted_contents),
                "num_images": len(sorted_contents),
                "contents": [content[:8] for content in sorted_contents],
                "command": command,
                "before": _last_hash(lines),
            }
            entry["hash"] = sha256_json(entry)
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            stream.flush()
    except OSError as error:
        raise output_error(path, error) from error


def _last_hash(lines: list[str]) -> str:
    """What the next line points to; a damaged line leaves the chain broken, so that looks stay unknown."""
    try:
        return json.loads(lines[-1])["hash"] if lines else ""
    except (ValueError, KeyError, TypeError):
        return "damaged"


def count_looks(project: Path, contents: Iterable[str]) -> int | None:
    """How often this test set, or one that shares images with it, was scored; None when the chain is broken.

    A missing ledger means no look was recorded.
    """
    own = {content[:8] for content in contents}
    looks, before = 0, ""
    path = project / LEDGER
    if not path.is_file():
        return 0
    try:
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            entry = json.loads(line)
            stated = entry.pop("hash")
            if stated != sha256_json(entry) or entry["before"] != before:
                return None
            before = stated
            looks += not own.isdisjoint(entry["contents"])
    except (ValueError, KeyError, TypeError):
        return None
    return looks
