"""`chiron models`: names without loading torch, details with it."""

from dataclasses import asdict
from fnmatch import fnmatch
from typing import Any

from chiron.core.errors import ModelError
from chiron.core.suggest import did_you_mean
from chiron.spec.model_names import known_model_names


def find_models(pattern: str) -> list[str]:
    """Sorted names that match a pattern, or hold it as a part.

    Raises:
        ModelError: none does.
    """
    names = sorted(known_model_names())
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    found = [name for name in names if fnmatch(name, wanted)]
    if not found:
        raise ModelError(f"A pattern must fit a model. Got {pattern!r}. {did_you_mean(pattern, names)}".rstrip())
    return found


def describe_models(names: list[str]) -> list[dict[str, Any]]:
    """Parameters and input size of each model, counted on the built one."""
    from chiron.models.create import describe_model

    return [asdict(describe_model(name)) for name in names]
