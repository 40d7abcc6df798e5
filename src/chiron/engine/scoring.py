"""Scores images with a classifier: fp32, eager, in the manifest's order, every sample once."""

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.classifier import Classifier
from chiron.data.dataset import StoredImages
from chiron.data.manifest import Manifest
from chiron.data.predictions import ID_COLUMNS, Predictions
from chiron.data.source import ImageSource
from chiron.engine.runtime import Runtime

# Columns that the manifest has for its own use and a table of predictions does not repeat.
_NOT_CARRIED = {"path", "label", "split", "status", "bytes_sha256", "pixels_sha256"}
_OURS = {"fold", "seed", "model_id", "y_true"}  # a data set's own columns of these names are not carried either


def score_images(
    classifier: Classifier, images: StoredImages, runtime: Runtime, *, batch_size: int
) -> Float[np.ndarray, "n classes"]:
    """Logits of every image, in order."""
    logits = np.empty((len(images), len(classifier.labels.names)), dtype=np.float32)
    for pixels, index in runtime.loader(images, batch_size=batch_size):
        logits[index.numpy()] = classifier.logits(pixels).cpu().numpy()
    return logits


def score_manifest(
    classifier: Classifier, manifest: Manifest, runtime: Runtime, *, batch_size: int, seed: int = 0
) -> Predictions:
    """The predictions table of all rows of `manifest`; unreadable rows stay in it without scores."""
    frame = manifest.frame
    readable = frame.filter(pl.col("status") == "ok")
    images = StoredImages(ImageSource(manifest.root), readable["path"].to_list(), classifier.input_spec)
    logits = score_images(classifier, images, runtime, batch_size=batch_size)
    scores = pl.DataFrame({"sample_id": readable["sample_id"]}).with_columns(
        pl.Series(f"logit_{name}", logits[:, k]).cast(pl.Float64) for k, name in enumerate(classifier.labels.names)
    )
    table = frame.select(
        *ID_COLUMNS,
        "split",
        pl.lit(manifest.fold or 0).alias("fold"),
        pl.lit(seed).alias("seed"),
        pl.lit(classifier.bundle_id).alias("model_id"),
        pl.col("label").alias("y_true"),
        pl.when((pl.col("status") == "ok") & pl.col("label").is_null())
        .then(pl.lit("no_reference"))
        .otherwise(pl.col("status"))
        .alias("status"),
        *[
            name
            for name in frame.columns
            if name not in {*_NOT_CARRIED, *_OURS, *ID_COLUMNS} and not name.startswith(("logit_", "prob_"))
        ],
    ).join(scores, on="sample_id", how="left", maintain_order="left")
    return Predictions(
        table,
        classifier.labels.names,
        classifier.labels.positive,
        {"bundle_id": classifier.bundle_id, "model": classifier.network_spec.name, "grouping": manifest.grouping},
    )
