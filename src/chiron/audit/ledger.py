"""The test ledger: append-only, hash-chained; one line for each scoring of a test set in a project, and for each plan.

Recomputing numbers from a stored predictions table is not a look and is not written here. A plan is what a study means
to compare, entered before its first look; it is no look either.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chiron.core.chain import append_to_chain, read_chain
from chiron.core.files import output_error
from chiron.core.hashing import sha256_json

LEDGER = "test_ledger.jsonl"
_PLAN = "plan"


@dataclass(frozen=True)
class EnteredPlan:
    """A plan as the ledger has it; `looks_before` is None where the chain is broken."""

    study: str
    plan: str
    time: str
    looks_before: int | None


def project_folder(output: Path) -> Path:
    """The folder that keeps the ledger: the nearest one above `output` that has one, else its parent."""
    parents = output.resolve().parents
    return next((folder for folder in parents if (folder / LEDGER).is_file()), parents[0])


def open_ledger(project: Path) -> None:
    """Makes this folder the project, so that all that is written below it finds the same ledger.

    Raises:
        OutputError: the ledger cannot be written.
    """
    try:
        project.mkdir(parents=True, exist_ok=True)
        (project / LEDGER).touch()
    except OSError as error:
        raise output_error(project / LEDGER, error) from error


def record_look(project: Path, *, bundle_id: str, contents: Iterable[str], command: str) -> None:
    """Appends one line: this bundle was scored on the test images with these content hashes.

    Args:
        contents: one hash of pixels and label an image; their order does not matter.
    Raises:
        OutputError: the ledger cannot be written.
    """
    _append(project, {"bundle_id": bundle_id}, contents, command)


def record_plan(project: Path, *, study: str, plan: str, contents: Iterable[str], command: str) -> EnteredPlan:
    """Appends one line: this study will score these test images by the plan with this hash; once for each plan.

    Raises:
        OutputError: the ledger cannot be written.
    """
    contents = list(contents)
    entered = entered_plans(project, study, contents)
    if not entered or entered[-1].plan != plan:
        _append(project, {"kind": _PLAN, "study": study, "plan": plan}, contents, command)
        entered = entered_plans(project, study, contents)
    return entered[-1]


def entered_plans(project: Path, study: str, contents: Iterable[str]) -> list[EnteredPlan]:
    """The plans of a study in the order of their lines, each with the looks at these test images before it."""
    own, looks, found = {content[:8] for content in contents}, 0, []
    entries, whole = _entries(project)
    for entry in entries:
        if entry.get("kind") == _PLAN:
            if entry.get("study") == study:
                found.append(EnteredPlan(study, entry["plan"], entry["time"], looks if whole else None))
        else:
            looks += not own.isdisjoint(entry.get("contents", ()))
    return found


def count_looks(project: Path, contents: Iterable[str]) -> int | None:
    """How often this test set, or one that shares images with it, was scored; None when the chain is broken.

    A missing ledger means no look was recorded.
    """
    own = {content[:8] for content in contents}
    entries, whole = _entries(project)
    if not whole:
        return None
    return sum(entry.get("kind") != _PLAN and not own.isdisjoint(entry["contents"]) for entry in entries)


def _append(project: Path, what: dict[str, Any], contents: Iterable[str], command: str) -> None:
    sorted_contents = sorted(contents)
    said = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **what,
        "test_set": sha256_json(sorted_contents),
        "num_images": len(sorted_contents),
        "contents": [content[:8] for content in sorted_contents],
        "command": command,
    }
    append_to_chain(project / LEDGER, said)


def _entries(project: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines that can be read, and whether the chain of all lines holds; a line of a ledger names images."""
    found, whole = read_chain(project / LEDGER)
    entries = [entry for entry in found if isinstance(entry.get("contents"), list)]
    return entries, whole and len(entries) == len(found)
