"""`chiron check`: a recipe against everything that can be known without torch or timm."""

from collections.abc import Iterable

from chiron.core.registry import leaf_names
from chiron.spec.model_names import known_model_names
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import Recipe


def check_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe, when every key, type and name in it is right.

    Raises:
        SpecError: all mistakes at once, one a line.
    """
    registries: dict[tuple[str | int, ...], Iterable[str]] = {
        ("model", "name"): known_model_names(),
        ("train", "loss"): leaf_names("chiron.engine.losses"),
        ("data", "reader"): leaf_names("chiron.data.readers"),
    }
    return read_recipe(name, overrides, registries=registries)
