"""What is told of training: one row an epoch for the history, and lines while it runs."""

import time
from typing import Any

from chiron.engine.checkpoint import Progress
from chiron.spec.train_recipe import TrainRecipe

TELL_EVERY_SECONDS = 15.0


class Pace:
    """How fast an epoch goes; after resuming, the part of it that is left."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._images_before = progress, progress.images_in_epoch
        self._started = self._told = time.monotonic()
        self.seconds = self.images_per_second = 0.0

    def time_to_tell(self) -> bool:
        """Whether nothing was said for a while; once a while."""
        now = time.monotonic()
        if now - self._told <= TELL_EVERY_SECONDS:
            return False
        self._told = now
        self.measure()
        return True

    def measure(self) -> None:
        """Measures from the start until now."""
        self.seconds = time.monotonic() - self._started
        self.images_per_second = (self._progress.images_in_epoch - self._images_before) / max(self.seconds, 1e-9)


def epoch_row(progress: Progress, values: dict[str, float | None], pace: Pace, *, lr: float) -> dict[str, Any]:
    """The history's row of the epoch that ends.

    `train_loss` is the mean of what the steps minimized: on augmented images, with class weights and smoothing where
    the recipe has them, and with `sampler: balanced` on the balanced stream. `val_loss` is the plain log loss on the
    images as they are, so the two are on one scale only without all of these. Auxiliary losses, which `train_loss`
    holds by their weights, have a number of their own, without the weight.
    """
    return {
        "epoch": progress.epoch + 1,
        "train_loss": progress.loss_sum / max(1, progress.images_in_epoch),
        **{f"train_{kind}_loss": total / progress.images_in_epoch for kind, total in progress.auxiliary_sums.items()},
        **{f"val_{name}": value for name, value in values.items()},
        "lr": lr,
        "seconds": round(pace.seconds, 3),
        "images_per_second": round(pace.images_per_second, 2),
    }


def epoch_line(train: TrainRecipe, progress: Progress) -> str:
    """The line of the epoch that stands last in the history."""
    row, key = progress.history[-1], train.select_by
    left = 0.0 if progress.finished else row["seconds"] * (train.epochs - row["epoch"])
    selected = "" if key == "loss" else f"  val {key} {_shown(row[f'val_{key}'])}"
    kinds = [kind for kind in ("segmentation", "attention") if f"train_{kind}_loss" in row]
    beside = ", ".join(f"{kind} {row[f'train_{kind}_loss']:.4f}" for kind in kinds)
    return (
        f"epoch {row['epoch']}/{train.epochs}  train loss {row['train_loss']:.4f}{f' ({beside})' if beside else ''}"
        f"  val loss {_shown(row['val_loss'])}"
        f"{selected} (best {_shown(progress.best_value)}, epoch {progress.best_epoch})  "
        f"{row['images_per_second']:.0f} images/s  {_duration(left)} left"
    )


def step_line(train: TrainRecipe, progress: Progress, pace: Pace, *, num_batches: int) -> str:
    """The line that tells of long epochs in between."""
    return (
        f"  epoch {progress.epoch + 1}/{train.epochs}, step {progress.step_in_epoch}/{num_batches}, "
        f"train loss {progress.loss_sum / max(1, progress.images_in_epoch):.4f}, {pace.images_per_second:.0f} images/s"
    )


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
