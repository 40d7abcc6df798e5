"""Scoring is a look: which part of the data is scored, and the ledger's line of it."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from chiron.audit.ledger import count_looks, project_folder, record_look
from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.workflows.run_folder import command_line

log = logging.getLogger("chiron.evaluate")


def headline_split(manifest: Manifest) -> str:
    """The split that a report is about when nobody says one."""
    present = set(manifest.frame["split"].drop_nulls())
    return next((split for split in ("test", "external", "val") if split in present), "all")


def part_of(manifest: Manifest, split: str) -> Manifest:
    """The images of a split, or all.

    Raises:
        DataError: there are none.
    """
    if split == "all":
        return manifest
    part = manifest.select(split)
    if not part.frame.height:
        present = ", ".join(sorted(set(manifest.frame["split"].drop_nulls()))) or "none"
        raise DataError(f"The split to score must hold images. Got none in {split!r}. Splits here: {present}.")
    return part


def enter_look(
    output: Path, bundle_id: str, part: Manifest, hide: Iterable[Path | None] = ()
) -> int | Literal["unknown"]:
    """Enters the scoring into the project's ledger, before it happens, and returns the number of looks so far."""
    project = project_folder(output)
    contents = part.content_hashes()
    record_look(project, bundle_id=bundle_id, contents=contents, command=command_line(hide))
    looks = count_looks(project, contents)
    log.info("test ledger in %s: look number %s at these images", project, "unknown" if looks is None else looks)
    return "unknown" if looks is None else looks


def now() -> str:
    """The time as tables and reports tell it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
