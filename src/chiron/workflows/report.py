"""`chiron report`: a report written again from what is stored; no image is scored and no ledger line is added."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.core.errors import SpecError
from chiron.core.files import require_new, write_text
from chiron.report.coarse_parts import shareable_numbers
from chiron.report.figures import draw_figures, write_figures
from chiron.report.gallery import make_gallery
from chiron.report.limits import Limit, limits_of
from chiron.report.page import render_report
from chiron.report.plots.style import Drawing
from chiron.report.sharing import shareable_context, shareable_gallery, shareable_history
from chiron.workflows.numbers import compute_numbers
from chiron.workflows.run_folder import RunFolder, is_run, open_run
from chiron.workflows.stored import RUN_SPLITS, Stored, stored_run, stored_table


@dataclass(frozen=True)
class Reported:
    """The written page, which split it tells of, and the limits that it names."""

    path: Path
    split: str
    limits: list[Limit]


def report(
    target: str | Path,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    positive: str | None = None,
    shareable: bool = False,
    pictures: bool = True,
    force: bool = False,
) -> Reported:
    """Writes the report of a run folder or a predictions CSV again.

    Args:
        out: the HTML file; by default the run's own report (`report.html`, shareable: `report-shareable.html`), which
            is replaced; of a table the same name in the current folder.
        split: by default the one that the run was evaluated on last.
        positive: class of interest in a two-class table that does not name it.
        shareable: leave out images, small counts, names and paths; see `report.sharing`.
        pictures: show those of the failures; without them the page lists ids.
        force: replace a file at `out`.
    Raises:
        SpecError: the target is neither, an option does not fit it, or `out` exists.
        DataError: the split has not been scored.
    """
    path, name = Path(target), "report-shareable.html" if shareable else "report.html"
    if is_run(path):
        if positive is not None:
            raise SpecError("A run keeps its own classes. Got --positive. Leave it out.")
        run = open_run(path)
        page = Path(out) if out is not None else path / name
        chosen = split or _last_split(run)
        stored = stored_run(run, chosen)
    elif path.suffix.lower() == ".csv":
        page = Path(out) if out is not None else Path(name)
        stored = stored_table(path, split=split, positive=positive)
    else:
        raise SpecError(f"chiron report takes a run folder or a predictions CSV. Got {path}. Give one of them.")
    if out is not None or not is_run(path):
        require_new(page, force=force)
    key = sharing_key(project_folder(path)) if shareable else None
    limits = write_page(page, stored, compute_numbers(stored), key=key, pictures=pictures)
    return Reported(page, stored.context.split_scored, limits)


def write_results(folder: Path, stored: Stored, *, pictures: bool = True) -> dict[str, Any]:
    """Writes figures, the page, with or without pictures, and numbers into `folder` and returns the numbers."""
    numbers = compute_numbers(stored)
    drawings = draw_figures(
        numbers,
        stored.history or None,
        selection_metric=stored.context.selection_metric,
        best_epoch=stored.context.best_epoch,
    )
    write_figures(drawings, folder / "figures")
    write_page(folder / "report.html", stored, numbers, drawings=drawings, pictures=pictures)
    written = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / "evaluation_metrics.json", written)  # last: the numbers say that all is there
    return numbers


def write_page(
    path: Path,
    stored: Stored,
    numbers: dict[str, Any],
    *,
    drawings: list[Drawing] | None = None,
    key: bytes | None = None,
    pictures: bool = True,
) -> list[Limit]:
    """Writes the HTML page, with a key the shareable one, which never has images, and returns the limits on it.

    The figures of the numbers may be drawn already; those of a shareable page are always drawn of what it shows.
    """
    exact = None if key is None else (numbers, stored.context)  # only a shareable page shows others than it judges by
    shown: dict[str, Any] = numbers
    context, history = stored.context, stored.history
    gallery = make_gallery(stored.predictions, stored.manifest if pictures and key is None else None)
    if key is not None:
        shown, context = shareable_numbers(numbers), shareable_context(context, key)
        gallery, history, drawings = shareable_gallery(gallery, key), shareable_history(history), None
    limits = limits_of(shown, context, exact=exact)
    page = render_report(
        shown,
        context,
        history,
        limits=limits,
        gallery=gallery,
        explained=stored.explained if pictures and key is None else None,
        drawings=drawings,
        shareable=key is not None,
    )
    write_text(path, page)
    return limits


def _last_split(run: RunFolder) -> str:
    """The split that was evaluated last; of a run without numbers the first that has predictions."""
    if run.metrics.is_file():
        return run.read_metrics()["split"]
    return next((split for split in ("test", "external", *RUN_SPLITS) if run.predictions(split).is_file()), "val")
