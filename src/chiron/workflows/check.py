"""`chiron check`: a recipe against everything that can be known without torch or timm."""

from collections.abc import Collection, Iterator
from importlib.metadata import version

from chiron.core.registry import leaf_names
from chiron.spec.model_names import indexed_timm_version, is_known_model, known_model_names
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import Recipe


def check_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe, when every key, type and name in it is right.

    Raises:
        SpecError: all mistakes at once, one a line.
    """
    registries: dict[tuple[str | int, ...], Collection[str]] = {
        ("model", "name"): _ModelNames(),
        ("train", "loss"): leaf_names("chiron.engine.losses"),
        ("data", "reader"): leaf_names("chiron.data.readers"),
    }
    return read_recipe(name, overrides, registries=registries)


class _ModelNames(Collection[str]):
    """Names of the index, families of outside packages, and what another timm than the index's may have."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if is_known_model(name) or version("timm") == indexed_timm_version():
            return is_known_model(name)
        import timm  # seconds, but the index cannot know what this release has

        return timm.is_model(name.partition(".")[0])

    def __iter__(self) -> Iterator[str]:
        return iter(known_model_names())

    def __len__(self) -> int:
        return len(known_model_names())
