"""The few val metrics that are computed every epoch, choose the best one, and say when to stop."""

import math

import numpy as np
from jaxtyping import Float, Int

from chiron.engine.checkpoint import Progress
from chiron.metrics.one_number import one_number, one_number_of_labels
from chiron.metrics.scores.accuracy import accuracy
from chiron.metrics.scores.auroc import auroc
from chiron.metrics.scores.balanced_accuracy import balanced_accuracy
from chiron.metrics.scores.f1 import f1
from chiron.metrics.scores.log_loss import log_loss
from chiron.metrics.scores.precision import precision
from chiron.metrics.scores.sensitivity import sensitivity
from chiron.spec.labels import LabelSpace
from chiron.spec.metric_names import directions
from chiron.spec.train_recipe import TrainRecipe

_PLATEAU_THRESHOLD = 1e-4


def selection_metrics(
    y_true: Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"],
    y_prob: Float[np.ndarray, "n classes"],
    labels: LabelSpace,
    select_by: str = "auroc",
) -> dict[str, float | None]:
    """loss (unweighted log loss), accuracy, balanced_accuracy, macro_f1, precision, sensitivity, auroc, and the metric
    to select by.

    A metric of one class, as auroc, precision and sensitivity are, is that of the positive class, or of more than two
    the mean over classes. Of several labels an image, over assessed ones: loss, accuracy at 0.5 of the labels, auroc
    and the metric to select by, means over the classes that have both values.

    None where a metric is not defined, for example when a class is absent.
    """
    values = _of_several_labels(y_true, y_prob) if labels.is_multi_label else _of_one_label(y_true, y_prob, labels)
    if select_by not in values:
        if labels.is_multi_label:
            values[select_by] = one_number_of_labels(select_by, y_true, y_prob)
        else:
            values[select_by] = one_number(select_by, y_true, y_prob, positive_index=labels.positive_index)
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _of_one_label(
    y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"], labels: LabelSpace
) -> dict[str, float]:
    count = len(labels.names)
    y_pred = y_prob.argmax(axis=1)
    positives = list(range(count)) if labels.positive_index is None or count > 2 else [labels.positive_index]
    return {
        "loss": log_loss(y_true, y_prob),
        "accuracy": accuracy(y_true, y_pred, num_classes=count),
        "balanced_accuracy": balanced_accuracy(y_true, y_pred, num_classes=count),
        "macro_f1": float(np.mean(f1(y_true, y_pred, num_classes=count))),
        "precision": float(precision(y_true, y_pred, num_classes=count)[positives].mean()),
        "sensitivity": float(sensitivity(y_true, y_pred, num_classes=count)[positives].mean()),
        "auroc": float(np.mean([auroc((y_true == k).astype(np.int64), y_prob[:, k]) for k in positives])),
    }


def _of_several_labels(
    y_true: Float[np.ndarray, "n classes"], y_prob: Float[np.ndarray, "n classes"]
) -> dict[str, float]:
    known = ~np.isnan(y_true)
    if not known.any():
        return {"loss": math.nan, "accuracy": math.nan, "auroc": math.nan}
    reference, probs = y_true[known].astype(np.int64), y_prob[known]
    ranked = [auroc(y_true[rows, k].astype(np.int64), y_prob[rows, k]) for k, rows in enumerate(known.T) if rows.any()]
    defined = [value for value in ranked if not math.isnan(value)]
    return {
        "loss": log_loss(reference, np.column_stack([1 - probs, probs])),
        "accuracy": float(((probs >= 0.5) == reference).mean()),
        "auroc": float(np.mean(defined)) if defined else math.nan,
    }


def is_better(key: str, value: float | None, best: float | None, *, by: float = 0.0) -> bool:
    """Whether `value` beats `best` by more than `by`; undefined never wins, and loses to everything."""
    if value is None:
        return False
    if best is None:
        return True
    return value < best - by if directions()[key] == "down" else value > best + by


def note_plateau(progress: Progress, train: TrainRecipe, value: float | None) -> None:
    """Lowers the rate after more than `plateau_patience` epochs without a better value; a warm-up is left to end first.

    Better means better by more than a ten-thousandth of the best value.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau; without its `eps`, for which rates below 1e-8 stay as they are.
    """
    if progress.epoch + 1 <= train.warmup_epochs:
        return
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

    For early stopping, better means better by more than `min_delta`.
    """
    better = progress.best_epoch is None or is_better(train.select_by, value, progress.best_value)
    if better:
        progress.best_epoch, progress.best_value = progress.epoch + 1, value
    if is_better(train.select_by, value, progress.stop_value, by=train.min_delta):
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
