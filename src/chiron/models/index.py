"""Writes `index.json`, names of models and optimizers that `chiron check` reads without loading torch or timm.

Run `python -m chiron.models.index` after a family was added or timm was raised.
"""

import inspect
import json
from pathlib import Path
from typing import Any, get_type_hints

import timm
from timm.optim import get_optimizer_class, list_optimizers

from chiron.core.files import write_text
from chiron.models.create import takes_mask
from chiron.models.registry import chiron_model_names
from chiron.models.weights.pretrained import weight_tags
from chiron.spec.model_names import FAMILIES

INDEX_FILE = Path(__file__).with_name("index.json")
_FAMILIES_HERE = FAMILIES + "."
# bitsandbytes and apex are no part of Chiron; kron draws at random and keeps lists, so that it could not resume to the
# same bytes; adahessian wants a second backward pass.
_OPTIMIZERS_LEFT_OUT = ["bnb*", "fused*", "kron*", "adahessian"]
_KEYS_OF_THE_RECIPE = ("params", "lr", "weight_decay")


def build_index() -> dict[str, Any]:
    """Names and weight tags of Chiron's own models and of timm's, those that take a mask, optimizers, timm's version."""
    own = [name for name in chiron_model_names() if _is_own(name)]
    others = [name for name in timm.list_models() if name not in chiron_model_names()]
    return {
        "timm_version": timm.__version__,
        "with_mask": [name for name in own if _takes_mask(name)],
        "optimizers": {name: _arguments(name) for name in list_optimizers(exclude_filters=_OPTIMIZERS_LEFT_OUT)},
        "chiron": {name: list(weight_tags(name)) for name in own},
        "timm": {name: list(weight_tags(name)) for name in others},
    }


def index_text(index: dict[str, Any]) -> str:
    """The index as JSON with one line a model or optimizer."""

    def lines(names: dict[str, list[str]]) -> str:
        return ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in names.items())

    version, with_mask = json.dumps(index["timm_version"]), json.dumps(index["with_mask"])
    chiron, others, optimizers = (lines(index[key]) for key in ("chiron", "timm", "optimizers"))
    return (
        f'{{"timm_version": {version},\n"with_mask": {with_mask},\n'
        f'"optimizers": {{\n{optimizers}\n}},\n'
        f'"chiron": {{\n{chiron}\n}},\n"timm": {{\n{others}\n}}}}\n'
    )


def _is_own(name: str) -> bool:
    """Whether the model is defined in this package; those of outside packages are not ours to list."""
    return timm.model_entrypoint(name).__module__.startswith(_FAMILIES_HERE)


def _takes_mask(name: str) -> bool:
    """Whether the model class that the variant's function says it returns takes a mask."""
    return takes_mask(get_type_hints(timm.model_entrypoint(name))["return"])


def _arguments(optimizer: str) -> list[str]:
    """What an optimizer takes besides what the recipe has a key for; `momentum` stands for such a key."""
    taken = inspect.signature(get_optimizer_class(optimizer, bind_defaults=False)).parameters
    return [name for name in taken if name not in _KEYS_OF_THE_RECIPE]


if __name__ == "__main__":
    write_text(INDEX_FILE, index_text(build_index()))
