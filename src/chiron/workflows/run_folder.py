"""Names of everything in a run folder, in one place."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chiron.core.errors import SpecError
from chiron.core.files import require_new, write_text
from chiron.data.copies.pairs import DUPLICATES
from chiron.data.predictions import read_facts
from chiron.data.split_tables import TABLES
from chiron.version import __version__

_OWN = (
    "recipe.yaml",
    "manifest.csv",
    "manifest.json",
    DUPLICATES,
    *TABLES.values(),
    "environment.json",
    "training_history.json",
    "evaluation_metrics.json",
    "report.html",
    "report-shareable.html",
    "comparison.json",
    "fit_check.png",
    "fit_check.svg",
    "fit_check.txt",
    "run.json",
    "checkpoints",
    "folds",
    "logs",
    "bundle",
    "predictions",
    "figures",
    "by_image",
    "by_unit",
    "by_patient",
    "tta_hflip",
    "tta_dihedral",
    "explanations",
)
CALIBRATING = "calibrating"  # status of a run whose parts are of two decisions until `chiron calibrate` has ended
_DATA_SETTING = re.compile(r"^((?:--set=)?\s*data\s*(?:\.[^=]*)?=).*", re.DOTALL)
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "opencv-python-headless", "polars")


@dataclass(frozen=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def facts(self) -> Path:
        """Where the data lies, the command, and how far the run came."""
        return self.path / "run.json"

    @property
    def environment(self) -> Path:
        """Versions, processor, git commit."""
        return self.path / "environment.json"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "training_history.json"

    @property
    def metrics(self) -> Path:
        """The numbers of the split that was evaluated last."""
        return self.path / "evaluation_metrics.json"

    @property
    def comparison(self) -> Path:
        """Models that stand beside this one in its report."""
        return self.path / "comparison.json"

    @property
    def checkpoints(self) -> Path:
        """For resuming; may be removed when the run is done."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """What loggers write, a folder each."""
        return self.path / "logs"

    @property
    def bundle(self) -> Path:
        """For use."""
        return self.path / "bundle"

    def by_unit(self, unit: str) -> Path:
        """Numbers, figures and report of another unit than the bundle's, beside those that stand for the run."""
        return self.path / f"by_{unit}"

    def by_views(self, tta: str) -> Path:
        """Predictions, numbers, figures and report with test-time augmentation, beside those that stand for the run."""
        return self.path / f"tta_{tta}"

    def explanations(self, split: str) -> Path:
        """Maps of some images of one split, where they were asked for."""
        return self.path / "explanations" / split

    def predictions(self, split: str) -> Path:
        """The table of one split."""
        return self.path / "predictions" / f"{split}.csv"

    def is_scored(self, split: str) -> bool:
        """Whether the split has a table of the run's bundle as it is: another decision is another bundle."""
        table, bundle_id = self.predictions(split), self.read_facts().get("bundle_id")
        facts = table.with_suffix(".json")
        made_by = read_facts(facts).get("bundle_id") if table.is_file() and facts.is_file() else None
        return made_by is not None and made_by == bundle_id

    def fold(self, number: int) -> "RunFolder":
        """Where the network of a fold of cross-fitting keeps its checkpoints, history and predictions."""
        return RunFolder(self.path / "folds" / str(number))

    def write_facts(self, **facts: Any) -> None:
        """Adds to what is known of the run."""
        write_text(self.facts, json.dumps(self.read_facts() | facts, indent=2, ensure_ascii=False))

    def read_facts(self) -> dict[str, Any]:
        """What is known of the run; empty when there is none yet."""
        if not self.facts.is_file():
            return {}
        try:
            return json.loads(self.facts.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SpecError(
                f"run.json must be whole. Got {error} at {self.facts}. Train again with --force."
            ) from error

    def read_metrics(self) -> dict[str, Any]:
        """The numbers of the split that was evaluated last."""
        return json.loads(self.metrics.read_text(encoding="utf-8"))

    def read_history(self) -> list[dict[str, Any]]:
        """One row an epoch."""
        return json.loads(self.history.read_text(encoding="utf-8")) if self.history.is_file() else []


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder."""
    return (path / "run.json").is_file() and (path / "recipe.yaml").is_file()


def new_run(path: Path, *, force: bool, hide: Iterable[Path | None] = ()) -> RunFolder:
    """An empty run folder; with `force` an older run there is replaced, but never a folder that is not a run.

    Args:
        hide: paths that the kept command must not hold.

    Raises:
        SpecError: something stands at `path`.
        OutputError: the folder cannot be made.
    """
    require_new(path, force=force)
    if path.exists() and any(path.iterdir()):
        if not is_run(path):
            raise SpecError(f"--force replaces only a Chiron run. Got another folder at {path}. Choose another --out.")
        for name in _OWN:  # what else a person put there stays
            shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink(missing_ok=True)
    run = RunFolder(path)
    run.write_facts(status="started", command=command_line(hide))
    write_text(run.environment, json.dumps(environment(), indent=2))
    return run


def open_run(path: Path) -> RunFolder:
    """The run folder at `path`.

    Raises:
        SpecError: there is none, or `chiron calibrate` was stopped in it.
    """
    run = find_run(path)
    require_whole(run)
    return run


def find_run(path: Path) -> RunFolder:
    """The run folder at `path`, whatever state it is in.

    Raises:
        SpecError: there is none.
    """
    if not is_run(path):
        raise SpecError(f"A run folder must hold run.json and recipe.yaml. Got {path}. Give the --out of a training.")
    return RunFolder(path)


def require_whole(run: RunFolder) -> None:
    """Stops at a run whose recipe, bundle and tables may be of different decisions.

    Raises:
        SpecError: `chiron calibrate` was stopped in it.
    """
    if run.read_facts().get("status") == CALIBRATING:
        raise SpecError(
            f"Recipe, bundle and tables of a run must be of one decision. Got {run.path}, where `chiron calibrate` was "
            f"stopped. Run `chiron calibrate {run.path}` to its end; it goes on with the decision that was asked for."
        )


def command_line(hide: Iterable[Path | None] = ()) -> str:
    """The command as typed, without the path of the program.

    Args:
        hide: paths that DATA stands for. Where there is one, values of `--set data...=` are left out as well: they may
            name images.
    """
    hidden = {os.path.realpath(path) for path in hide if path is not None}  # however they are typed
    typed = (part if os.path.realpath(part.rpartition("=")[2]) not in hidden else "DATA" for part in sys.argv[1:])
    if hidden:
        typed = (_DATA_SETTING.sub(r"\1...", part) for part in typed)
    return " ".join([Path(sys.argv[0]).name, *typed])


def library_versions() -> dict[str, str]:
    """Versions of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment() -> dict[str, Any]:
    """What a number may depend on besides recipe and data."""
    return {
        "chiron": __version__,
        "libraries": library_versions(),
        "platform": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
