"""What of a recipe may leave the run folder with its bundle."""

from pathlib import Path
from typing import Any

from chiron.spec.recipe import Recipe


def shareable_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe without sample names and paths: a bundle leaves the run folder."""
    values = recipe.model_dump(mode="json")
    if recipe.model.weights is not None:
        values["model"]["weights"] = Path(recipe.model.weights).name
    values["data"]["accept_leaks"] = [f"{len(recipe.data.accept_leaks)} pairs, named in the run folder"] * bool(
        recipe.data.accept_leaks
    )
    return values
