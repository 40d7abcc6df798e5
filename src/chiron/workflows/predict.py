"""`chiron predict`: a bundle over files, folders, patterns and zips."""

import csv
import io
import logging
from collections.abc import Iterable
from pathlib import Path

from chiron.classifier import load
from chiron.core.errors import DataError
from chiron.core.files import require_new, write_text
from chiron.engine.runtime import start_runtime
from chiron.predictor import Predictor, Row, find_inputs

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
) -> list[Row]:
    """One row an image, in order; with `out` also as a CSV file. A bad file gets a row that says why.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a path does not exist, or no image at all can be decoded.
    """
    target = None if out is None else Path(out)
    if target is not None:
        require_new(target, force=force)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(bundle, device=str(runtime.device))
    rows = list(Predictor(classifier, batch_size=batch_size).rows(find_inputs(paths)))
    if all(row.problem for row in rows):
        raise DataError(rows[0].problem + (f" ({len(rows)} files, none can be used.)" if len(rows) > 1 else ""))
    for row in rows:
        if row.problem:
            log.warning("%s", row.problem)
    if target is not None:
        write_text(target, predictions_csv(rows, classifier.labels.names, classifier.bundle_id))
    return rows


def predictions_csv(rows: Iterable[Row], classes: tuple[str, ...], bundle_id: str) -> str:
    """A table that `chiron evaluate` reads once a column y_true is filled in."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["sample_id", "model_id", "y_true", "status", "predicted_class", "confidence"]
        + [f"prob_{name}" for name in classes]
        + [f"logit_{name}" for name in classes]
        + ["problem"]
    )
    for row in rows:
        if row.prediction is None:
            writer.writerow([row.name, bundle_id, "", "unreadable", "", "", *[""] * (2 * len(classes)), row.problem])
            continue
        probs = [row.prediction.probabilities[name] for name in classes]
        said = [row.prediction.predicted_class, row.prediction.confidence]
        writer.writerow([row.name, bundle_id, "", "no_reference", *said, *probs, *row.logits, ""])
    return stream.getvalue()
