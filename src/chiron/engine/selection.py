"""The few val metrics that are computed every epoch, choose the best one, and say when to stop."""

import math

import numpy as np
from jaxtyping import Float, Int

from chiron.engine.checkpoint import Progress
from chiron.metrics.scores.accuracy import accuracy
from chiron.metrics.scores.auroc import auroc
from chiron.metrics.scores.balanced_accuracy import balanced_accuracy
from chiron.metrics.scores.f1 import f1
from chiron.metrics.scores.log_loss import log_loss
from chiron.spec.labels import LabelSpace
from chiron.spec.train_recipe import TrainRecipe

_PLATEAU_THRESHOLD = 1e-4


def selection_metrics(
    y_true: Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"],
    y_prob: Float[np.ndarray, "n classes"],
    labels: LabelSpace,
) -> dict[str, float | None]:
    """loss (unweighted log loss), accuracy, balanced_accuracy, macro_f1, and auroc of the positive class or the macro.

    Of several labels an image, over assessed ones: loss, accuracy at 0.5 of the labels, and auroc, the mean over the
    classes that have both values.

    None where a metric is not defined, for example when a class is absent.
    """
    if labels.is_multi_label:
        return _of_several_labels(y_true, y_prob)
    count = len(labels.names)
    y_pred = y_prob.argmax(axis=1)
    positives = range(count) if labels.positive_index is None or count > 2 else [labels.positive_index]
    values = {
        "loss": log_loss(y_true, y_prob),
        "accuracy": accuracy(y_true, y_pred, num_classes=count),
        "balanced_accuracy": balanced_accuracy(y_true, y_pred, num_classes=count),
        "macro_f1": float(np.mean(f1(y_true, y_pred, num_classes=count))),
        "auroc": float(np.mean([auroc((y_true == k).astype(np.int64), y_prob[:, k]) for k in positives])),
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _of_several_labels(
    y_true: Float[np.ndarray, "n classes"], y_prob: Float[np.ndarray, "n classes"]
) -> dict[str, float | None]:
    known = ~np.isnan(y_true)
    if not known.any():
        return {"loss": None, "accuracy": None, "auroc": None}
    reference, probs = y_true[known].astype(np.int64), y_prob[known]
    ranked = [auroc(y_true[rows, k].astype(np.int64), y_prob[rows, k]) for k, rows in enumerate(known.T) if rows.any()]
    defined = [value for value in ranked if not math.isnan(value)]
    return {
        "loss": log_loss(reference, np.column_stack([1 - probs, probs])),
        "accuracy": float(((probs >= 0.5) == reference).mean()),
        "auroc": float(np.mean(defined)) if defined else None,
    }


def is_better(key: str, value: float | None, best: float | None, *, by: float = 0.0) -> bool:
    """Whether `value` beats `best` by more than `by`; a loss is better when it is smaller; undefined never wins."""
    if value is None:
        return False
    if best is None:
        return True
    return value < best - by if key == "loss" else value > best + by


def note_plateau(progress: Progress, train: TrainRecipe, value: float | None) -> None:
    """Lowers the rate after more than `plateau_patience` epochs without a better value.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau with its relative threshold of 1e-4.
    """
    best = progress.plateau_value
    by = 0.0 if best is None else _PLATEAU_THRESHOLD * best
    if is_better(train.select_by, value, best, by=by):
        progress.plateau_value, progress.plateau_epochs = value, 0
        return
    progress.plateau_epochs += 1
    if progress.plateau_epochs > train.plateau_patience:
        progress.rate_factor *= train.plateau_factor
        progress.plateau_epochs = 0


def note_value(progress: Progress, train: TrainRecipe, value: float | None) -> bool:
    """Whether the epoch that ends is the best so far, which it is then from now on; the first one always is.

    For early stopping, better means better by more than `min_delta`; for a plateau, as torch's ReduceLROnPlateau has
    it, by more than a ten-thousandth of the value.
    """
    better = progress.best_epoch is None or is_better(train.select_by, value, progress.best_value)
    if better:
        progress.best_epoch, progress.best_value = progress.epoch + 1, value
    if progress.stop_value is None or is_better(train.select_by, value, progress.stop_value, by=train.min_delta):
        progress.stop_value, progress.epochs_without_better = value, 0
    else:
        progress.epochs_without_better += 1
    if train.schedule == "plateau":
        note_plateau(progress, train, value)
    return better


def reason_to_stop(train: TrainRecipe, progress: Progress, values: dict[str, float | None]) -> str | None:
    """Why training ends before its last epoch, in words; None to go on."""
    if train.overfit_images is not None and values["accuracy"] == 1:
        return f"all {train.overfit_images} images are told apart"
    if train.patience is not None and progress.epochs_without_better >= train.patience:
        return f"{train.patience} epochs without a better val {train.select_by}"
    return None
