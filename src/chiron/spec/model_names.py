"""The names of all models and optimizers, read from an index made beforehand: that needs neither torch nor timm."""

import functools
import importlib.metadata
import json
from importlib.resources import files
from typing import Any

FAMILIES = "chiron.models.families"  # the package, and the group of entry points


def known_model_names() -> tuple[str, ...]:
    """Chiron's models, then timm's, each followed by its `architecture.tag` names of pretrained weights."""
    return tuple(
        full
        for models in (_index()["chiron"], _index()["timm"])
        for name, tags in models.items()
        for full in (name, *(f"{name}.{tag}" for tag in tags))
    )


def is_known_model(name: str) -> bool:
    """Whether the index has the name, or an outside package announces its family (`chiron_<entry point>...`)."""
    if name in known_model_names():
        return True
    outside = importlib.metadata.entry_points(group=FAMILIES)
    return any(name.partition(".")[0].startswith(f"chiron_{entry.name}") for entry in outside)


def needs_mask(name: str) -> bool | None:
    """Whether the network takes a mask beside the image; None where the index does not know it."""
    architecture = name.partition(".")[0]
    if architecture in _index()["with_mask"]:
        return True
    return False if architecture in _index()["chiron"] or architecture in _index()["timm"] else None


def optimizer_arguments() -> dict[str, tuple[str, ...]]:
    """What each optimizer takes besides rate and decay, by name; `momentum` among it has a recipe key of its own."""
    return {name: tuple(arguments) for name, arguments in _index()["optimizers"].items()}


def indexed_timm_version() -> str:
    """The timm release that the index was made with."""
    return _index()["timm_version"]


@functools.cache
def _index() -> dict[str, Any]:
    return json.loads(files("chiron").joinpath("models/index.json").read_text(encoding="utf-8"))
