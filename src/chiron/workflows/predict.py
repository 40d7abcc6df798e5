"""`chiron predict`: a bundle over files, folders, patterns and zips; one row an image, or one a unit."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from chiron.core.errors import DataError
from chiron.core.files import require_new, write_text
from chiron.data.private import Privacy
from chiron.ensemble import Ensemble
from chiron.predictor import Given, Input, Inputs, Predictor, Row, UnitRow, by_unit, find_inputs
from chiron.scorer import ImageLike, Scorer
from chiron.spec.decision import Tta
from chiron.workflows.growing_table import GrowingTable, require_table_name, table_at
from chiron.workflows.open_scorer import open_scorer
from chiron.workflows.prediction_table import PredictionTable, facts_of
from chiron.workflows.privacy import names_as_kept, units_as_kept
from chiron.workflows.units_of_files import units_of_files

log = logging.getLogger("chiron.predict")
_SECONDS_BETWEEN_WORDS = 10.0


def predict(bundle: str | Path, images: ImageLike | Iterable[ImageLike], **how: Any) -> list[Row]:
    """One row an image, in order; with `out` also as a table. A bad file gets a row that says why.

    All rows are held; for many images take `predict_stream`, whose arguments these are.
    """
    return list(predict_stream(bundle, images, **how))


def predict_stream(
    bundle: str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    others: Sequence[str | Path] = (),
    tta: Tta = "none",
    out: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    top_k: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    privacy: Privacy = "auto",
) -> "Predicting":
    """One row an image, in order, each given out when it is known; with `out` also written as they come.

    What can be refused is refused at once; the work is done while the rows are asked for.

    Args:
        images: see `find_inputs`.
        others: bundles that answer together with the first one, see `Ensemble`.
        tta: views of each image whose probabilities are averaged.
        out: a table, `*.csv`, `*.jsonl` or the folder `*.parquet`; beside it the facts `*.json`.
        resume: go on with the table at `out`, made by the same bundle, options and images; rows that stand there are
            not given out again. Without such a table it is started.
        top_k: of `*.jsonl`: also the so many most probable classes.
        privacy: whether the file holds names of images, see `chiron.data.private`; the rows given out always do.
    Raises:
        BundleError: a bundle is missing, damaged or does not fit the others.
        DataError: a path does not exist, no image at all can be decoded, or the table is of another bundle, of other
            options or of other images.
        SpecError: `out` exists, is no table by its name, or is being written.
    """
    target = None if out is None else Path(out)
    if target is not None:
        _require_free(target, force=force, resume=resume)
    inputs = find_inputs(images)
    scorer = load_scorer(bundle, others, device=device, threads=threads)
    if scorer.decision.unit != "image":
        log.warning("this bundle answers for the %s; every image is taken for one (see --by)", scorer.decision.unit)
    writing = None
    if target is not None:
        asked = {"tta": tta, "top_k": top_k, "bundles": _ids(scorer)}
        writing = _Writing(target, scorer, asked, top_k, names_as_kept(inputs, privacy, target), resume)
    return Predicting(Predictor(scorer, batch_size=batch_size, tta=tta), inputs, writing)


def predict_units(
    bundle: str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    by: str,
    table: str | Path | None = None,
    others: Sequence[str | Path] = (),
    tta: Tta = "none",
    out: str | Path | None = None,
    force: bool = False,
    top_k: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    privacy: Privacy = "auto",
) -> list[UnitRow]:
    """One row a unit (patient, lesion, exam) with the rows of its images, combined by the bundle's rule.

    With `out` two tables: the units there, and their images in `<out>_images.csv` beside it. They are written at the
    end, as an image of a unit may come last.

    Args:
        by: a column of `table`, or without a table `folder`: the images of one folder make one unit.
        table: names images and units. An image that it leaves out is a unit by itself, which is told.
    Raises:
        BundleError: a bundle is missing, damaged or does not fit the others.
        DataError: a path does not exist, no image can be decoded, or the table does not fit the images.
    """
    target = None if out is None else Path(out)
    beside = None if target is None else target.with_name(f"{target.stem}_images{target.suffix}")
    for path in (target, beside):
        if path is not None:
            _require_free(path, force=force, resume=False)
    inputs = find_inputs(images)
    units = units_of_files([item.name for item in inputs], by, None if table is None else Path(table))
    scorer = load_scorer(bundle, others, device=device, threads=threads)
    rows = list(Predicting(Predictor(scorer, batch_size=batch_size, tta=tta), inputs, None))
    if scorer.decision.unit == "image":
        log.warning("this bundle was calibrated for single images; what it says of several is less sure")
    if blank := units.count(None):
        log.warning("%d images have no %s; each is one by itself", blank, by)
    if target is not None and beside is not None:
        called = names_as_kept(inputs, privacy, target)
        kept, named = [_as_kept(row, called) for row in rows], units_as_kept(units, inputs, privacy, target)
        facts = facts_of(scorer, {"tta": tta, "bundles": _ids(scorer)})
        made = PredictionTable(target, scorer, unit="rows", top_k=top_k)
        _write(target, made, [made.cells(row) for row in by_unit(scorer, kept, named)], facts)
        made = PredictionTable(beside, scorer, unit="column", top_k=top_k)
        _write(beside, made, [made.cells(row, unit=it) for row, it in zip(kept, named, strict=True)], facts)
    return by_unit(scorer, rows, units)


def load_scorer(
    bundle: str | Path, others: Sequence[str | Path] = (), *, device: str = "auto", threads: int | None = None
) -> Scorer:
    """One bundle, or several that answer together."""
    scorers = [open_scorer(path, device=device, threads=threads) for path in (bundle, *others)]
    return Ensemble(scorers) if others else scorers[0]


@dataclass(frozen=True)
class _Writing:
    """The table that rows go to."""

    target: Path
    scorer: Scorer
    asked: dict[str, Any]
    top_k: int | None
    called: Callable[[str], str] | None  # how the table calls an image
    resume: bool

    def table(self) -> tuple[PredictionTable, GrowingTable]:
        """Its form and itself."""
        form = PredictionTable(self.target, self.scorer, top_k=self.top_k)
        return form, table_at(self.target, form.columns)

    @property
    def facts(self) -> Path:
        """The file beside it."""
        return self.target.with_suffix(".json")

    def require_same(self) -> None:
        """Stops where the table that stands there was made otherwise.

        Raises:
            DataError: by another bundle or with other options.
        """
        try:
            said = json.loads(self.facts.read_text(encoding="utf-8"))
            said = {name: said.get(name) for name in ("bundle_id", *self.asked)}
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(
                f"A table to continue must have its facts beside it. Got {error}. Start anew with --force."
            ) from error
        own = {"bundle_id": self.scorer.bundle_id, **self.asked}
        if other := [name for name in own if own[name] != said[name]]:
            raise DataError(
                f"A table to continue must be of the same bundle and options. Got {other[0]} {said[other[0]]} there "
                f"and {own[other[0]]} now: {self.target}. Give the same, or start anew with --force."
            )

    def write_facts(self, **done: Any) -> None:
        """The facts, and once all rows are there what came of them."""
        _write_facts(self.facts, facts_of(self.scorer, self.asked) | done)


class Predicting:
    """The rows of a prediction, to be gone through once; meanwhile it counts, rows that stood there before included."""

    def __init__(self, predictor: Predictor, inputs: Inputs, writing: _Writing | None) -> None:
        self.predictor, self.writing = predictor, writing
        self.num_images, self.num_done, self.num_failed = len(inputs), 0, 0
        self._stream = iter(inputs)
        self._first_problem = ""

    def __iter__(self) -> Iterator[Row]:
        if self.writing is None:
            yield from self._rows()
        else:
            yield from self._written(self.writing)
        if self.num_failed == self.num_images:
            more = f" ({self.num_images} files, none can be used.)" if self.num_images > 1 else ""
            raise DataError(self._first_problem + more)

    def _written(self, writing: _Writing) -> Iterator[Row]:
        form, table = writing.table()
        with table:
            if writing.resume and writing.facts.is_file():
                writing.require_same()
                self._skip(table, writing)
            else:
                table.start()
                writing.write_facts()
            rows = self._rows()
            while batch := list(islice(rows, self.predictor.batch_size)):
                table.append([form.cells(_as_kept(row, writing.called)) for row in batch])
                yield from batch
        writing.write_facts(num_images=self.num_done, num_unreadable=self.num_failed)

    def _skip(self, table: GrowingTable, writing: _Writing) -> None:
        """Leaves out what stands in the table.

        Raises:
            DataError: it holds other images.
        """
        for place, (name, status) in enumerate(table.kept()):
            item: Input | Given | None = next(self._stream, None)
            called = None if item is None else item.name if writing.called is None else writing.called(item.name)
            if called != name:
                raise DataError(
                    f"A table to continue must be of the same images in the same order. Got {name} in row {place + 1}, "
                    f"where {'no image is left' if called is None else called + ' stands now'}: {writing.target}. Give "
                    "the same images, or start anew with --force."
                )
            self._count(problem="" if status != "unreadable" else f"{name} cannot be used, as the table says.")
        log.info("%d of %d images are done", self.num_done, self.num_images)

    def _rows(self) -> Iterator[Row]:
        before, said = self.num_done, time.monotonic()
        started = said
        for row in self.predictor.rows(self._stream):
            self._count(row.problem)
            if row.problem and self.num_images > 1:  # of one alone it is the error
                log.warning("%s", row.problem)
            now = time.monotonic()
            if now - said > _SECONDS_BETWEEN_WORDS:
                rate, said = (self.num_done - before) / (now - started), now
                log.info("%d of %d images, %.0f a second", self.num_done, self.num_images, rate)
            yield row

    def _count(self, problem: str) -> None:
        self.num_done += 1
        self.num_failed += bool(problem)
        self._first_problem = self._first_problem or problem


def _require_free(target: Path, *, force: bool, resume: bool) -> None:
    require_table_name(target)
    require_new(target, force=force or resume)
    require_new(target.with_suffix(".json"), force=force or resume)


def _as_kept(row: Row, called: Callable[[str], str] | None) -> Row:
    """The row as a file may hold it."""
    if called is None:
        return row
    return replace(row, name=called(row.name), problem="cannot be used" if row.problem else "")


def _ids(scorer: Scorer) -> list[str]:
    return [one.bundle_id for one in scorer.scorers] if isinstance(scorer, Ensemble) else [scorer.bundle_id]


def _write(target: Path, form: PredictionTable, cells: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    with table_at(target, form.columns) as table:
        table.start()
        table.append(cells)
    _write_facts(target.with_suffix(".json"), facts)


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    write_text(path, json.dumps(facts, indent=2, ensure_ascii=False))
