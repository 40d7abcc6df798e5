"""The sanity run: does everything work, from the first image to the report? A few steps tell, and are no result."""

from pathlib import Path
from typing import Any

from chiron.core.errors import SpecError
from chiron.spec.recipe import Recipe


def sanity_settings(recipe: Recipe) -> Recipe:
    """The recipe for one epoch, in which all that begins in a later one begins at once."""
    train = recipe.train
    update = {
        "epochs": 1,
        "warmup_epochs": min(train.warmup_epochs, 0.5),
        "mix_from_epoch": 0,
        "ema_from_epoch": 0,
    }
    return recipe.model_copy(update={"train": train.model_copy(update=update)})


def sanity_facts(recipe: Recipe) -> dict[str, Any]:
    """What run.json says of a sanity run; nothing of any other."""
    steps = recipe.train.sanity_steps
    return {} if steps is None else {"sanity_steps": steps, "is_result": False}


def refuse_sanity_run(path: Path, recipe: Recipe, split: str) -> None:
    """Stops before a test split is spent on a network that has not been trained.

    Raises:
        SpecError: `recipe` is that of a sanity run, and the split is one to be scored once.
    """
    if recipe.train.sanity_steps is not None and split in ("test", "external"):
        raise SpecError(
            f"A sanity run must leave the {split} split alone, which is to be scored once, by a trained network. "
            f"Got {path}. Train without train.sanity_steps."
        )
