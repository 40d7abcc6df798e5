"""Whether a lower precision may be used: the paired rule on real images of the run's val split, or of other data."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.classifier import Classifier
from chiron.core.errors import ExportError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import score_manifest
from chiron.exporting.agreement import Run
from chiron.metrics.comparison.keeps_quality import QualityKept, keeps_quality
from chiron.scorer import StoredImages
from chiron.spec.export_spec import QualityCheck
from chiron.workflows.evaluate_bundle import with_classes_of
from chiron.workflows.run_folder import is_run, open_run

SPLIT = "val"
MOST_SAMPLES = 300  # images by which int8 finds its ranges; they judge nothing
_BATCH = 32

log = logging.getLogger("chiron.export")


@dataclass(frozen=True)
class RealImages:
    """Images with labels: some by which int8 finds its ranges, and those that judge."""

    classifier: Classifier
    samples: Manifest
    judging: Manifest
    split: str

    def stored_samples(self) -> StoredImages:
        """The samples as the graph takes them."""
        return np.concatenate(list(_stored(self.classifier, self.samples, self.samples.frame["path"].to_list())))

    def judge(self, run: Run, runtime: Runtime) -> QualityCheck:
        """What a lower precision loses against eager fp32 on the same images.

        Raises:
            ExportError: it may lose too much, or the images are too few to tell.
        """
        log.info("%d images of %s in fp32 and in the lower precision", self.judging.frame.height, self.split)
        table = score_manifest(self.classifier, self.judging, runtime, batch_size=_BATCH)
        paths = dict(self.judging.frame.select("sample_id", "path").iter_rows())
        rows = [paths[name] for name in table.scored["sample_id"]]
        logits = [run(batch)["logits"] for batch in _stored(self.classifier, self.judging, rows)]
        candidate = self.classifier.probabilities(np.concatenate(logits, axis=1).astype(np.float64))
        verdicts = _verdicts(self.classifier, table, candidate)
        flipped, cases = (sum(getattr(it, name) for it in verdicts.values()) for name in ("num_flipped", "num_cases"))
        words = "; ".join(f"{name}: {it.words}" if len(verdicts) > 1 else it.words for name, it in verdicts.items())
        if not all(it.kept for it in verdicts.values()):
            raise ExportError(
                f"A lower precision must be shown to keep the quality on real images. Got {words} ({self.split}). "
                "Nothing was written; choose another precision, or more images with --data."
            )
        log.info("%s", words)
        return QualityCheck(words=words, split=self.split, num_images=cases, num_flipped=flipped)


def real_images(bundle: Path, classifier: Classifier, data: Path | None, *, needs_samples: bool) -> RealImages:
    """The images that a lower precision is judged on.

    Args:
        data: images with labels; None takes those of the run at `bundle`.
        needs_samples: put every so-many-th aside, so that ranges are not found on what judges.
    Raises:
        SpecError: neither a run nor data.
        DataError: data whose classes are others.
    """
    if data is not None:
        manifest = with_classes_of(classifier, read_dataset(data), None)
    elif is_run(bundle):
        manifest = Manifest.load(open_run(bundle).path)
    else:
        raise SpecError(
            f"A lower precision is judged on real images with labels. Got the bundle {bundle} alone. Give its run "
            "folder, or images with --data."
        )
    if SPLIT in manifest.frame["split"].to_list():
        manifest = manifest.select(SPLIT)
    elif data is None:
        raise SpecError(
            f"A lower precision is judged on the run's {SPLIT} split. Got a run without one. Give images with --data."
        )
    readable = manifest.frame.filter(pl.col("status") == "ok")
    every = max(2, -(-readable.height // MOST_SAMPLES))  # of few images, half are samples
    is_sample = (pl.int_range(pl.len()) % every == every - 1) if needs_samples else pl.lit(False)
    samples, judging = (replace(manifest, frame=readable.filter(kept)) for kept in (is_sample, ~is_sample))
    return RealImages(classifier, samples, judging, SPLIT if data is None else "the data given")


def _stored(classifier: Classifier, manifest: Manifest, paths: list[str]) -> Iterator[StoredImages]:
    source = ImageSource(manifest.root)
    for start in range(0, len(paths), _BATCH):
        yield np.stack([source.stored(path, classifier.input_spec) for path in paths[start : start + _BATCH]])


def _verdicts(
    classifier: Classifier, table: Predictions, candidate: Float[np.ndarray, "n classes"]
) -> dict[str, QualityKept]:
    """One verdict, or of several labels one a class over the images that were assessed for it."""
    labels, y_true, original, groups = classifier.labels, table.y_true, table.y_prob, table.groups
    if not labels.is_multi_label:
        threshold = None if labels.positive is None else _threshold(classifier, labels.positive)
        asked: dict[str, Any] = {"classes": labels.names, "positive": labels.positive, "threshold": threshold}
        return {"": keeps_quality(y_true, original, candidate, groups=groups, **asked)}
    verdicts = {}
    for k, name in enumerate(labels.names):
        known = ~np.isnan(y_true[:, k])
        own = None if groups is None else [group for group, kept in zip(groups, known, strict=True) if kept]
        pairs = [np.stack([1 - probs[known, k], probs[known, k]], axis=1) for probs in (original, candidate)]
        threshold = _threshold(classifier, name)
        verdicts[name] = keeps_quality(
            y_true[known, k].astype(np.int64),
            *pairs,
            classes=(f"no {name}", name),
            positive=name,
            groups=own,
            threshold=0.5 if threshold is None else threshold,
        )
    return verdicts


def _threshold(classifier: Classifier, name: str) -> float | None:
    """The frozen threshold of the question for this class alone."""
    found = [it.value for it in classifier.decision.thresholds if it.classes == (name,)]
    return found[0] if found else None
