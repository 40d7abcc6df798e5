"""One training of several that share a folder: taken by one process, resumed where it stands, or noted as failed."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chiron.core.errors import EngineError
from chiron.core.files import claimed, locked
from chiron.workflows.run_folder import RunFolder, is_run
from chiron.workflows.train import train

log = logging.getLogger("chiron.runs")
DONE = ("finished", "failed")


def train_run(
    recipe: str, data: Path, folder: Path, *, overrides: tuple[str, ...], device: str, threads: int | None
) -> None:
    """One run, from its start or from where it stands; one that cannot finish is noted and does not stop the others."""
    log.info("run %s", folder.name)
    options: dict[str, Any] = {"device": device, "threads": threads}
    try:
        if is_run(folder):
            train("", None, folder, resume=True, **options)
        else:
            _remove_unstarted(folder)
            train(recipe, data, folder, overrides=overrides, **options)
    except EngineError as error:
        log.warning("run %s failed: %s", folder.name, error)
        RunFolder(folder).write_facts(status="failed", failed=str(error))


def _remove_unstarted(folder: Path) -> None:
    """What a run leaves that was killed before its recipe was written."""
    if (folder / "run.json").is_file() or (folder.is_dir() and not any(folder.glob("[!.]*"))):
        shutil.rmtree(folder)


@contextmanager
def claimed_run(folder: Path) -> Iterator[bool]:
    """Whether this process alone works on the run; asking never hides a run from one that would work on it."""
    with ExitStack() as held:
        with locked(folder.parent / ".claims" / "asking"):
            mine = held.enter_context(claimed(folder.parent / ".claims" / folder.name))
        yield mine


def state_of(folder: Path) -> str:
    """`finished`, `failed`, `running` (in some process), `unfinished` or `not started`."""
    status = status_of(folder)
    if status in DONE:
        return status
    with locked(folder.parent / ".claims" / "asking"), ExitStack() as held:
        mine = held.enter_context(claimed(folder.parent / ".claims" / folder.name))
    if not mine:
        return "running"
    return "unfinished" if is_run(folder) else "not started"


def status_of(folder: Path) -> str:
    """What the run says of itself; empty where there is none."""
    return str(RunFolder(folder).read_facts().get("status", "")) if is_run(folder) else ""
