"""BundleSpec: everything in a bundle but the tensors."""

from typing import Any

from pydantic import Field

from chiron.spec.decision import Decision
from chiron.spec.frozen import Frozen
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import Provenance
from chiron.spec.recipe import IntendedUse, ModelRecipe
from chiron.spec.scope import ScopeSpec


class NetworkSpec(Frozen):
    """How to build a network before its weights are loaded."""

    name: str
    args: dict[str, Any]
    head: str | None = None
    head_args: dict[str, Any] = Field(default_factory=dict)
    members: int = 1


def network_of(model: ModelRecipe) -> NetworkSpec:
    """What a recipe says of the network, without its first weights."""
    return NetworkSpec(name=model.name, args=model.args, head=model.head, head_args=model.head_args)


class BundleSpec(Frozen):
    """Everything in a bundle but the tensors."""

    network: NetworkSpec
    input: InputSpec
    labels: LabelSpace
    decision: Decision
    intended_use: IntendedUse
    provenance: Provenance
    scope: ScopeSpec | None = None  # bundles of former versions have none, and no out-of-scope score
