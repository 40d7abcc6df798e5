"""The overfit check: can this network, with this recipe's learning rate, learn a few images by heart?

A network that cannot is not worth training; the fault is then in the network, the input or the learning rate.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chiron.core.errors import DataError, SpecError
from chiron.core.hashing import seed_of
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import LABEL_PREFIX
from chiron.engine.fit import Fitted
from chiron.spec.augment import AugmentRecipe
from chiron.spec.recipe import Recipe
from chiron.spec.train_recipe import TrainRecipe
from chiron.workflows.run_folder import RunFolder

REACH = 0.95
MIN_EPOCHS = 200  # an epoch of a few images is one or two steps, too few for any network
# Of the recipe's train part; every other key has its default.
KEPT = (
    *("batch_size", "grad_accum_steps", "optimizer", "optimizer_args", "lr", "momentum", "weight_decay"),
    *("weight_decay_on", "layer_decay", "clip_grad", "loss", "focal_gamma", "asymmetric_gamma_pos"),
    *("asymmetric_gamma_neg", "asymmetric_shift", "precision", "channels_last", "compile", "deterministic"),
    *("grad_checkpointing", "shard", "num_workers", "overfit_images", "loggers", "log_details", "seed"),
)


@dataclass(frozen=True)
class OverfitResult:
    """How well the images of an overfit check were learned."""

    accuracy: float
    num_images: int
    epoch: int

    @property
    def reached(self) -> bool:
        """Whether the check is passed."""
        return self.accuracy >= REACH

    def __str__(self) -> str:
        said = "reached" if self.reached else "did not reach"
        return (
            f"overfit check: accuracy {self.accuracy:.3f} on {self.num_images} training images (epoch {self.epoch}); "
            f"{said} {REACH:g}"
        )


def overfit_settings(recipe: Recipe) -> Recipe:
    """The recipe with everything off that keeps a network from learning images by heart, and epochs enough.

    Network, input, loss, optimizer (with its weight decay), learning rate, batch size, gradient clipping and how steps
    compute stay: what is checked is whether these can learn.
    """
    kept = {name: getattr(recipe.train, name) for name in KEPT}
    train = TrainRecipe(epochs=max(recipe.train.epochs, MIN_EPOCHS), schedule="constant", select_by="accuracy", **kept)
    return recipe.model_copy(update={"augment": AugmentRecipe(), "train": train})


def pick_images(manifest: Manifest, count: int, *, seed: int) -> Manifest:
    """`count` images of the train split, one of each class in turn; which ones is a function of names and seed.

    Raises:
        DataError: the train split has fewer images.
    """
    part = manifest.select("train")
    if part.frame.height < count:
        raise DataError(
            f"train.overfit_images must be at most the number of training images ({part.frame.height}). Got {count}. "
            "Lower it."
        )
    turns: list[tuple[int, int, str]] = []
    shows = {name: pl.col("label") == name for name in part.classes}
    if part.is_multi_label:
        shows = {name: pl.col(LABEL_PREFIX + name) == 1 for name in part.classes}
        shows["none of them"] = ~pl.any_horizontal(expr.fill_null(False) for expr in shows.values())
    for place, name in enumerate(shows):
        own = part.frame.filter(shows[name])["sample_id"].to_list()
        shuffled = sorted(own, key=lambda sample: seed_of("overfit", seed, sample))
        turns += [(turn, place, sample) for turn, sample in enumerate(shuffled)]
    chosen = list(dict.fromkeys(sample for _, _, sample in sorted(turns)))[:count]  # a sample may show several classes
    return part.with_splits(dict.fromkeys(chosen, "train")).select("train")


def note_overfit(run: RunFolder, fitted: Fitted, recipe: Recipe) -> OverfitResult:
    """The result of an overfit check, written into the run's facts."""
    progress, count = fitted.progress, recipe.train.overfit_images
    assert count is not None
    assert progress.best_value is not None  # accuracy is always defined
    assert progress.best_epoch is not None
    result = OverfitResult(progress.best_value, count, progress.best_epoch)
    run.write_facts(
        status="finished",
        best_epoch=result.epoch,
        overfit={"images": count, "accuracy": result.accuracy, "reached": result.reached},
    )
    return result


def read_overfit(run: RunFolder) -> OverfitResult | None:
    """The result that an overfit check left in its run folder; None for any other run."""
    facts = run.read_facts()
    if "overfit" not in facts:
        return None
    return OverfitResult(facts["overfit"]["accuracy"], facts["overfit"]["images"], facts["best_epoch"])


def refuse_overfit_check(path: Path, recipe: Recipe, *, to: str) -> None:
    """Stops what needs more than an overfit check leaves behind.

    Raises:
        SpecError: the run at `path` is one.
    """
    if recipe.train.overfit_images is not None:
        raise SpecError(
            f"A run to {to} must be a training. Got {path}, and an overfit check has no bundle and no checkpoint. "
            "Train without train.overfit_images."
        )
