"""`chiron predict`: a bundle over files, folders, patterns and zips."""

import csv
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chiron.classifier import load
from chiron.core.errors import DataError
from chiron.core.files import require_new, write_text
from chiron.data.predictions import reference_columns
from chiron.data.private import Privacy
from chiron.engine.runtime import start_runtime
from chiron.predictor import Predictor, Row, find_inputs
from chiron.spec.labels import LabelSpace
from chiron.workflows.privacy import rows_as_kept

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
    if target is not None:
        require_new(target, force=force)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(bundle, device=str(runtime.device))
    inputs = find_inputs(paths)
    rows = list(Predictor(classifier, batch_size=batch_size).rows(inputs))
    if all(row.problem for row in rows):
        raise DataError(rows[0].problem + (f" ({len(rows)} files, none can be used.)" if len(rows) > 1 else ""))
    for row in rows:
        if row.problem:
            log.warning("%s", row.problem)
    if target is not None:
        kept = rows_as_kept(rows, inputs, privacy, target)
        write_text(target, predictions_csv(kept, classifier.labels, classifier.bundle_id))
    return rows


def predictions_csv(rows: Iterable[Row], labels: LabelSpace, bundle_id: str) -> str:
    """A table that `chiron evaluate` reads once y_true, or y_true_<class> of several classes, is filled in."""
    stream = io.StringIO()
    references = reference_columns(labels.names) if labels.is_multi_label else ["y_true"]
    named = [] if labels.is_multi_label else ["predicted_class", "confidence"]
    scores = [f"{kind}_{name}" for kind in ("prob", "logit") for name in labels.names]
    columns = ["sample_id", "model_id", *references, "status", *named, *scores, "problem"]
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        written: dict[str, Any] = {"sample_id": row.name, "model_id": bundle_id}
        if row.prediction is None:
            writer.writerow(written | {"status": "unreadable", "problem": row.problem})
            continue
        probs = [row.prediction.probabilities[name] for name in labels.names]
        written |= {"status": "no_reference"} | dict(zip(scores, [*probs, *row.logits], strict=True))
        writer.writerow(written | {name: getattr(row.prediction, name) for name in named})
    return stream.getvalue()
