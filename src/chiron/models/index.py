"""Writes `index.json`, the list of model names that `chiron check` reads without loading torch or timm.

Run `python -m chiron.models.index` after a family was added or timm was raised.
"""

import json
from pathlib import Path
from typing import Any, get_type_hints

import timm

from chiron.core.files import write_text
from chiron.models.create import takes_mask
from chiron.models.registry import chiron_model_names
from chiron.models.weights.pretrained import weight_tags
from chiron.spec.model_names import FAMILIES

INDEX_FILE = Path(__file__).with_name("index.json")
_FAMILIES_HERE = FAMILIES + "."


def build_index() -> dict[str, Any]:
    """Names and weight tags of Chiron's own models and of timm's, those that take a mask, and timm's version."""
    own = [name for name in chiron_model_names() if _is_own(name)]
    others = [name for name in timm.list_models() if name not in chiron_model_names()]
    return {
        "timm_version": timm.__version__,
        "with_mask": [name for name in own if _takes_mask(name)],
        "chiron": {name: list(weight_tags(name)) for name in own},
        "timm": {name: list(weight_tags(name)) for name in others},
    }


def index_text(index: dict[str, Any]) -> str:
    """The index as JSON with one line a model."""

    def lines(models: dict[str, list[str]]) -> str:
        return ",\n".join(f"{json.dumps(name)}: {json.dumps(tags)}" for name, tags in models.items())

    version, with_mask = json.dumps(index["timm_version"]), json.dumps(index["with_mask"])
    chiron, others = lines(index["chiron"]), lines(index["timm"])
    return (
        f'{{"timm_version": {version},\n"with_mask": {with_mask},\n'
        f'"chiron": {{\n{chiron}\n}},\n"timm": {{\n{others}\n}}}}\n'
    )


def _is_own(name: str) -> bool:
    """Whether the model is defined in this package; those of outside packages are not ours to list."""
    return timm.model_entrypoint(name).__module__.startswith(_FAMILIES_HERE)


def _takes_mask(name: str) -> bool:
    """Whether the model class that the variant's function says it returns takes a mask."""
    return takes_mask(get_type_hints(timm.model_entrypoint(name))["return"])


if __name__ == "__main__":
    write_text(INDEX_FILE, index_text(build_index()))
