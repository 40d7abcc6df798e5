"""Scores images with a classifier: fp32, eager, in the manifest's order, every sample once."""

from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch.utils.data import DataLoader, Subset

from chiron.classifier import Classifier
from chiron.core.errors import EngineError
from chiron.data.dataset import StoredImages
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import LABEL_PREFIX, UNCERTAIN
from chiron.data.predictions import ID_COLUMNS, REFERENCE_PREFIX, Predictions, member_columns
from chiron.data.source import ImageSource
from chiron.engine.runtime import Runtime
from chiron.spec.decision import Tta
from chiron.spec.labels import LabelSpace

# Columns that the manifest has for its own use and a table of predictions does not repeat.
_NOT_CARRIED = {"path", "split", "status", "bytes_sha256", "pixels_sha256", "look_hash"}
_OURS = {"fold", "seed", "model_id", "y_true"}  # a data set's own columns of these names are not carried either


def scoring_loader(images: StoredImages, runtime: Runtime, *, batch_size: int) -> DataLoader:
    """This process's share of the images, in order; worth keeping where workers would have to start again."""
    own = np.array_split(np.arange(len(images)), runtime.world.size)[runtime.world.rank].tolist()
    return runtime.loader(Subset(images, own), batch_size=batch_size)


def score_images(
    classifier: Classifier,
    images: StoredImages,
    runtime: Runtime,
    *,
    batch_size: int,
    loader: DataLoader | None = None,
) -> Float[np.ndarray, "n classes"]:
    """Logits of every image, in order, in all processes; of several networks the mean. See `score_members`."""
    return score_members(classifier, images, runtime, batch_size=batch_size, loader=loader).mean(axis=0)


def score_members(
    classifier: Classifier,
    images: StoredImages,
    runtime: Runtime,
    *,
    batch_size: int,
    loader: DataLoader | None = None,
    tta: Tta = "none",
) -> Float[np.ndarray, "members n classes"]:
    """Logits that each network gives every image, in order, in all processes; each process scores its share.

    Args:
        tta: views of each image whose probabilities are averaged, see `Scorer.averaged`.
        loader: what `scoring_loader` gave for these images before.

    Raises:
        EngineError: an image was scored by no process, or by two: the processes see different data.
    """
    world, count = runtime.world, len(images)
    logits = torch.zeros(len(classifier.networks), count, len(classifier.labels.names))
    times = torch.zeros(count)
    for pixels, index in loader or scoring_loader(images, runtime, batch_size=batch_size):
        logits[:, index] = classifier.member_logits_of_views(pixels, tta).cpu()
        times[index] += 1
    world.sum(logits)  # exact: all but one process have 0
    if not bool((world.sum(times) == 1).all()):
        raise EngineError(
            f"Every image must be scored once. Got {int((times != 1).sum())} of {count} that were not. "
            "All processes must see the same run folder and data."
        )
    return logits.numpy()


def score_manifest(
    classifier: Classifier,
    manifest: Manifest,
    runtime: Runtime,
    *,
    batch_size: int,
    seed: int = 0,
    tta: Tta = "none",
) -> Predictions:
    """The predictions table of all rows of `manifest`; unreadable rows stay in it without scores.

    Args:
        tta: see `score_members`; the facts say which.
    """
    frame = manifest.frame
    readable = frame.filter(pl.col("status") == "ok")
    images = StoredImages(ImageSource(manifest.root), readable["path"].to_list(), classifier.input_spec)
    logits = score_members(classifier, images, runtime, batch_size=batch_size, tta=tta)
    scores = pl.DataFrame({"sample_id": readable["sample_id"]}).with_columns(_logit_columns(logits, classifier))
    table = frame.select(
        *ID_COLUMNS,
        "split",
        pl.lit(manifest.fold or 0).alias("fold"),
        pl.lit(seed).alias("seed"),
        pl.lit(classifier.bundle_id).alias("model_id"),
        *_references(manifest, classifier.labels),
        _status(manifest, classifier.labels).alias("status"),
        *[
            name
            for name in frame.columns
            if name not in {*_NOT_CARRIED, *_OURS, *ID_COLUMNS, *manifest.label_columns}
            and not name.startswith(("logit_", "prob_", "member_", REFERENCE_PREFIX))
        ],
    ).join(scores, on="sample_id", how="left", maintain_order="left")
    facts: dict[str, Any] = {
        "bundle_id": classifier.bundle_id,
        "model": classifier.network_spec.name,
        "grouping": manifest.grouping,
        "decision": classifier.decision.model_dump(mode="json"),
    }
    if classifier.labels.is_multi_label:
        facts["uncertain"] = classifier.labels.uncertain
    if tta != "none":
        facts["tta"] = tta
    if classifier.labels.ordinal:
        facts["ordinal"] = True
    return Predictions(table, classifier.labels.names, classifier.labels.positive, facts)


def reference_table(manifest: Manifest, labels: LabelSpace) -> pl.DataFrame:
    """Ids, references and status of all rows, as the table of predictions has them once images are scored."""
    return manifest.frame.select(*ID_COLUMNS, *_references(manifest, labels), _status(manifest, labels).alias("status"))


def _logit_columns(logits: Float[np.ndarray, "members n classes"], classifier: Classifier) -> list[pl.Series]:
    """The mean of the networks, and each of them where they were calibrated one by one."""
    names = classifier.labels.names
    sets = {tuple(f"logit_{name}" for name in names): logits.mean(axis=0)}
    if len(classifier.decision.calibration.parameters) > 1:
        sets |= {tuple(member_columns(member, names)): own for member, own in enumerate(logits)}
    return [
        pl.Series(column, values[:, k]).cast(pl.Float64)
        for columns, values in sets.items()
        for k, column in enumerate(columns)
    ]


def _references(manifest: Manifest, labels: LabelSpace) -> list[pl.Expr]:
    """The reference labels as the manifest has them; of several an image a column a class of the classifier."""
    if not labels.is_multi_label:
        return [pl.col("label").alias("y_true")]
    there = set(manifest.label_columns)
    return [
        (pl.col(LABEL_PREFIX + name) if LABEL_PREFIX + name in there else pl.lit(None, pl.Int8)).alias(
            REFERENCE_PREFIX + name
        )
        for name in labels.names
    ]


def _status(manifest: Manifest, labels: LabelSpace) -> pl.Expr:
    """`no_reference` without any label; `indeterminate` where all that there are are uncertain and count as nothing."""
    if not labels.is_multi_label:
        lacking, doubted = pl.col("label").is_null(), pl.lit(False)
    else:
        columns = [name for name in manifest.label_columns if name.removeprefix(LABEL_PREFIX) in labels.names]
        lacking = pl.all_horizontal(pl.col(columns).is_null())
        sure = pl.any_horizontal((pl.col(columns) != UNCERTAIN).fill_null(False))
        doubted = ~sure if labels.uncertain == "ignore" else pl.lit(False)
    return (
        pl.when(pl.col("status") != "ok")
        .then(pl.col("status"))
        .when(lacking)
        .then(pl.lit("no_reference"))
        .when(doubted)
        .then(pl.lit("indeterminate"))
        .otherwise(pl.lit("ok"))
    )
