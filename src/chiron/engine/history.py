"""What is told of training: one row an epoch for the history, and lines while it runs."""

import time
from typing import Any

from chiron.engine.checkpoint import Progress
from chiron.spec.train_recipe import TrainRecipe

TELL_EVERY_SECONDS = 15.0


class Pace:
    """How fast an epoch goes; after resuming, the part of it that is left."""

    def __init__(self, progress: Progress, *, num_batches: int) -> None:
        self._progress, self._num_batches = progress, num_batches
        self._images_before, self._steps_before = progress.images_in_epoch, progress.step_in_epoch
        self._seconds_before = progress.seconds_in_epoch
        self._started = self._told = self._measured = time.monotonic()
        self.images_per_second = 0.0

    def time_to_tell(self) -> bool:
        """Whether nothing was said for a while; once a while."""
        self.measure()
        if self._measured - self._told <= TELL_EVERY_SECONDS:
            return False
        self._told = self._measured
        return True

    def measure(self) -> None:
        """Measures from the start until now, also for the checkpoint."""
        self._measured = time.monotonic()
        seconds = self._measured - self._started
        self._progress.seconds_in_epoch = self._seconds_before + seconds
        self.images_per_second = (self._progress.images_in_epoch - self._images_before) / max(seconds, 1e-9)

    def seconds_left(self) -> tuple[float, float]:
        """Until the last step of this epoch, and of a whole epoch's steps, at the pace so far."""
        steps = self._progress.step_in_epoch - self._steps_before
        per_step = (self._measured - self._started) / max(1, steps)
        return per_step * (self._num_batches - self._progress.step_in_epoch), per_step * self._num_batches

    def validation_seconds(self) -> float:
        """Since the last measurement, which ended the steps."""
        return time.monotonic() - self._measured


def epoch_row(progress: Progress, values: dict[str, float | None], pace: Pace, *, lr: float) -> dict[str, Any]:
    """The history's row of the epoch that ends.

    `train_loss` is the mean of what the steps minimized: on augmented images, with class weights and smoothing where
    the recipe has them, and with `sampler: balanced` on the balanced stream. `val_loss` is the plain log loss on the
    images as they are, so the two are on one scale only without all of these. Auxiliary losses, which `train_loss`
    holds by their weights, have a number of their own, without the weight. `train_accuracy` is of the same augmented
    images, each before the step it belongs to; it is left out of epochs that mix all images.
    """
    judged = progress.images_judged
    return {
        "epoch": progress.epoch + 1,
        "train_loss": progress.loss_sum / max(1, progress.images_in_epoch),
        **({"train_accuracy": progress.right_sum / judged} if judged else {}),
        **{f"train_{kind}_loss": total / progress.images_in_epoch for kind, total in progress.auxiliary_sums.items()},
        **{f"val_{name}": value for name, value in values.items()},
        "lr": lr,
        "seconds": round(progress.seconds_in_epoch, 3),
        "validation_seconds": round(pace.validation_seconds(), 3),
        "images_per_second": round(progress.images_in_epoch / max(progress.seconds_in_epoch, 1e-9), 2),
    }


def epoch_line(train: TrainRecipe, progress: Progress) -> str:
    """The line of the epoch that stands last in the history."""
    row, key = progress.history[-1], train.select_by
    left = 0.0 if progress.finished else (train.epochs - row["epoch"]) * (row["seconds"] + row["validation_seconds"])
    selected = "" if key == "loss" else f"  val {key} {_shown(row[f'val_{key}'])}"
    kinds = [kind for kind in ("segmentation", "attention") if f"train_{kind}_loss" in row]
    beside = ", ".join(f"{kind} {row[f'train_{kind}_loss']:.4f}" for kind in kinds)
    return (
        f"epoch {row['epoch']}/{train.epochs}  train loss {row['train_loss']:.4f}{f' ({beside})' if beside else ''}"
        f"  val loss {_shown(row['val_loss'])}"
        f"{selected} (best {_shown(progress.best_value)}, epoch {progress.best_epoch})  "
        f"{row['images_per_second']:.0f} images/s  {_left(train, left)}"
    )


def step_line(train: TrainRecipe, progress: Progress, pace: Pace, *, num_batches: int) -> str:
    """The line that tells of long epochs in between: where it is, how fast, how long still, the best so far."""
    of_epoch, a_whole_one = pace.seconds_left()
    validation = progress.history[-1].get("validation_seconds", 0.0) if progress.history else 0.0
    of_run = of_epoch + validation + (train.epochs - progress.epoch - 1) * (a_whole_one + validation)
    best = ""
    if progress.best_epoch is not None:
        best = f", best val {train.select_by} {_shown(progress.best_value)} (epoch {progress.best_epoch})"
    return (
        f"  epoch {progress.epoch + 1}/{train.epochs}, step {progress.step_in_epoch}/{num_batches}, "
        f"train loss {progress.loss_sum / max(1, progress.images_in_epoch):.4f}{best}, "
        f"{pace.images_per_second:.0f} images/s, {_duration(of_epoch)} left of the epoch, {_left(train, of_run)}"
    )


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _left(train: TrainRecipe, seconds: float) -> str:
    """Time left of the run; where it may stop early, at most so much."""
    return f"{'at most ' * (train.patience is not None and seconds > 0)}{_duration(seconds)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
