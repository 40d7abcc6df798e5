"""`chiron predict`: a bundle over files, folders, patterns and zips; one row an image, or one a unit."""

import csv
import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiron.core.errors import DataError
from chiron.core.files import require_new, write_text
from chiron.data.predictions import reference_columns
from chiron.data.private import Privacy
from chiron.data.units import NUM_IMAGES, UNIT_COLUMNS
from chiron.predictor import Input, Predictor, Row, UnitRow, by_unit, find_inputs
from chiron.scorer import Scorer
from chiron.workflows.open_scorer import open_scorer
from chiron.workflows.privacy import rows_as_kept, units_as_kept
from chiron.workflows.units_of_files import units_of_files

log = logging.getLogger("chiron.predict")


def predict(
    bundle: str | Path,
    paths: Iterable[str | Path],
    *,
    out: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    privacy: Privacy = "auto",
) -> list[Row]:
    """One row an image, in order; with `out` also as a CSV file. A bad file gets a row that says why.

    Args:
        privacy: whether the file holds names of images, see `chiron.data.private`; the rows returned always do.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a path does not exist, or no image at all can be decoded.
    """
    target = None if out is None else Path(out)
    _require_new(target, force)
    done = _predict_images(bundle, paths, device=device, threads=threads, batch_size=batch_size)
    unit = done.classifier.decision.unit
    if unit != "image":
        log.warning("this bundle answers for the %s; every image is taken for one (see --by)", unit)
    if target is not None:
        kept = rows_as_kept(done.rows, done.inputs, privacy, target)
        _write(target, predictions_csv(kept, done.classifier), done.classifier)
    return done.rows


def predict_units(
    bundle: str | Path,
    paths: Iterable[str | Path],
    *,
    by: str,
    table: str | Path | None = None,
    out: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    privacy: Privacy = "auto",
) -> list[UnitRow]:
    """One row a unit (patient, lesion, exam) with the rows of its images, combined by the bundle's rule.

    With `out` two CSV files: the units there, and their images in `<out>_images.csv` beside it.

    Args:
        by: a column of `table`, or without a table `folder`: the images of one folder make one unit.
        table: names images and units. An image that it leaves out is a unit by itself, which is told.
    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a path does not exist, no image can be decoded, or the table does not fit the images.
    """
    target = None if out is None else Path(out)
    _require_new(target, force)
    beside = None if target is None else target.with_name(f"{target.stem}_images{target.suffix}")
    _require_new(beside, force)
    inputs = find_inputs(paths)
    units = units_of_files([item.name for item in inputs], by, None if table is None else Path(table))
    done = _predict_images(bundle, inputs, device=device, threads=threads, batch_size=batch_size)
    if done.classifier.decision.unit == "image":
        log.warning("this bundle was calibrated for single images; what it says of several is less sure")
    if blank := units.count(None):
        log.warning("%d images have no %s; each is one by itself", blank, by)
    if target is not None and beside is not None:
        rows = rows_as_kept(done.rows, inputs, privacy, target)
        named = units_as_kept(units, inputs, privacy, target)
        _write(target, predictions_csv(by_unit(done.classifier, rows, named), done.classifier), done.classifier)
        _write(beside, predictions_csv(rows, done.classifier, units=named), done.classifier)
    return by_unit(done.classifier, done.rows, units)


@dataclass(frozen=True)
class _Predicted:
    classifier: Scorer
    inputs: list[Input]
    rows: list[Row]


def _predict_images(
    bundle: str | Path, paths: Iterable[str | Path | Input], *, device: str, threads: int | None, batch_size: int
) -> _Predicted:
    classifier = open_scorer(bundle, device=device, threads=threads)
    given = list(paths)
    found = [item for item in given if isinstance(item, Input)]
    inputs = found or find_inputs([path for path in given if not isinstance(path, Input)])
    rows = list(Predictor(classifier, batch_size=batch_size).rows(inputs))
    if all(row.problem for row in rows):
        raise DataError(rows[0].problem + (f" ({len(rows)} files, none can be used.)" if len(rows) > 1 else ""))
    for row in rows:
        if row.problem:
            log.warning("%s", row.problem)
    return _Predicted(classifier, inputs, rows)


def _require_new(target: Path | None, force: bool) -> None:
    if target is not None:
        require_new(target, force=force)
        require_new(target.with_suffix(".json"), force=force)


def _write(target: Path, text: str, classifier: Scorer) -> None:
    """The table, and beside it what it takes to make the same probabilities of its logits."""
    labels = classifier.labels
    facts: dict[str, Any] = {
        "classes": labels.names,
        "positive": labels.positive,
        "bundle_id": classifier.bundle_id,
        "model": classifier.network_spec.name,
        "decision": classifier.decision.model_dump(mode="json"),
    }
    if labels.is_multi_label:
        facts["uncertain"] = labels.uncertain
    write_text(target, text)
    write_text(target.with_suffix(".json"), json.dumps(facts, indent=2, ensure_ascii=False))


def predictions_csv(
    rows: Sequence[Row | UnitRow], classifier: Scorer, *, units: Sequence[str | None] | None = None
) -> str:
    """A table that `chiron evaluate` reads once y_true, or y_true_<class> of several classes, is filled in.

    Args:
        units: the unit of every image, for a column of its own.
    """
    labels, decision = classifier.labels, classifier.decision
    first = next((row.prediction for row in rows if row.prediction), None)
    questions = [] if first is None else list(first.decisions)
    column = UNIT_COLUMNS.get(decision.unit, "unit_id")
    columns = [
        *("sample_id", "model_id"),
        *([column] if units is not None else []),
        *([NUM_IMAGES] if any(isinstance(row, UnitRow) for row in rows) else []),
        *(reference_columns(labels.names) if labels.is_multi_label else ["y_true"]),
        "status",
        *([] if labels.is_multi_label else ["predicted_class", "confidence"]),
        *(f"{kind}_{question}" for question in questions for kind in ("score", "answer")),
        *(["prediction_set"] if first is not None and first.prediction_set is not None else []),
        *(f"{kind}_{name}" for kind in ("prob", "logit") for name in labels.names),
        *(f"member_{k}_logit_{name}" for k in range(_num_members(classifier)) for name in labels.names),
        "problem",
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for place, row in enumerate(rows):
        written = _cells(row, labels.names) | {"model_id": classifier.bundle_id}
        writer.writerow(written if units is None else written | {column: units[place]})
    return stream.getvalue()


def _num_members(classifier: Scorer) -> int:
    """Networks whose own logits probabilities are made of; 0 where their mean says all."""
    count = len(classifier.decision.calibration.parameters)
    return count if count > 1 else 0


def _cells(row: Row | UnitRow, names: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {"sample_id": row.name, "problem": row.problem}
    if isinstance(row, UnitRow):
        cells[NUM_IMAGES] = row.num_images
    said, outputs = row.prediction, row.outputs
    if said is None or outputs is None:
        return cells | {"status": "unreadable"}
    cells |= {"status": "no_reference", "predicted_class": said.predicted_class, "confidence": said.confidence}
    for question, answer in said.decisions.items():
        cells |= {f"score_{question}": answer.score, f"answer_{question}": answer.answer}
    cells["prediction_set"] = "|".join(said.prediction_set or ())
    members = outputs.logits[:, 0].tolist()
    for name, logit in zip(names, np.mean(members, axis=0).tolist(), strict=True):
        cells |= {f"prob_{name}": said.probabilities[name], f"logit_{name}": logit}
    for member, logits in enumerate(members):
        cells |= {f"member_{member}_logit_{name}": logit for name, logit in zip(names, logits, strict=True)}
    return cells
