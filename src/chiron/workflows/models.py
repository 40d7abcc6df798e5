"""`chiron models`: names without loading torch, details, stages and audits with it."""

from collections.abc import Iterable
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
    return _fitting(pattern, known_model_names(), "A pattern must fit a model", "`chiron models` lists the families")


def describe_models(names: list[str]) -> list[dict[str, Any]]:
    """Parameters and input size of each model, counted on the built one."""
    from chiron.models.describe import describe_model

    return [asdict(describe_model(name)) for name in names]


def model_stages(name: str) -> list[dict[str, Any]]:
    """The stages of a model in order from the image, a row each: name, number of parameters, where they lie.

    Raises:
        ModelError: there is no such model, or it says no stages.
    """
    from chiron.models.describe import describe_stages

    return [asdict(stage) for stage in describe_stages(name)]


def audit_models(pattern: str = "*") -> list[dict[str, Any]]:
    """What the sources of the fitting models claim of their size, beside what is counted here, a row each.

    Raises:
        ModelError: there is no claim of a model that fits, or a model cannot be built.
    """
    from chiron.models.claims import audit_claims, read_claims

    claims = read_claims()
    audited = (claim.model for claim in claims)
    names = _fitting(pattern, audited, "A pattern must fit an audited model", "`chiron models audit` alone shows all")
    rows = [asdict(row) for row in audit_claims(claim for claim in claims if claim.model in names)]
    return [{**row.pop("claim"), **row} for row in rows]


def _fitting(pattern: str, names: Iterable[str], rule: str, what_next: str) -> list[str]:
    choices = sorted(set(names))
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    found = [name for name in choices if fnmatch(name, wanted)]
    if not found:
        raise ModelError(f"{rule}. Got {pattern!r}. {did_you_mean(pattern, choices) or what_next + '.'}")
    return found
