"""What sources say of their networks' sizes, from `claims.json`, beside what is counted on the networks built here."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from timm.models.convnext import ConvNeXtBlock
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.create import create_model, imagenet_weights
from chiron.models.describe import count_macs, count_parameters
from chiron.models.registry import DONORS
from chiron.models.weights.pretrained import weight_tags

CLAIMS_FILE = Path(__file__).with_name("claims.json")
IN_CHANS = 3  # of every claim
_NUMBER = re.compile(r"([\d,]+(?:\.(\d+))?)(?: ([MG]))?")
_UNITS = {None: 1, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Claim:
    """One thing that a source says of a network, or that it says nothing, and how that network is built here."""

    system: str  # of which the network is a part
    model: str  # a name of the registry
    reading: str  # documented, code, paper or corrected: by which of its sources the network is built
    num_classes: int
    img_size: int  # pixels
    where: str  # the claim stands
    claimed: str | None  # as it is written: `21.92 M`, `95,307,272`, `3-3-9-12`; None where the source names no number
    quantity: str = "parameters"
    head: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    frozen: str | None = None  # regular expression of the parameters that a count of trainable ones leaves out
    note: str = ""


@dataclass(frozen=True)
class InitOption:
    """A value of `model.init`, and for published weights their name and license (None where timm names none)."""

    init: str
    weights: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class AuditedClaim:
    """A claim with what was counted."""

    claim: Claim
    counted: int | str  # of the claim's quantity
    ratio: float | None  # counted to claimed, where both are numbers
    verdict: str
    num_parameters: int
    num_macs: int  # multiplications with addition for one image
    init_options: tuple[InitOption, ...]


def read_claims() -> list[Claim]:
    """All claims, in the order of the systems."""
    return [Claim(**row) for row in json.loads(CLAIMS_FILE.read_text(encoding="utf-8"))]


def audit_claims(claims: Iterable[Claim]) -> Iterator[AuditedClaim]:
    """Each claim beside its count, one network in memory at a time; neighbors that claim of one network share it.

    Raises:
        ModelError: a network cannot be built, or has no such quantity.
    """
    for _, group in groupby(claims, key=lambda c: (c.model, c.head, c.args, c.num_classes, c.img_size)):
        of_one_network = list(group)
        first = of_one_network[0]
        model = create_model(
            first.model,
            num_classes=first.num_classes,
            img_size=first.img_size,
            head=first.head,
            init="scratch",
            seed=0,
            **first.args,
        )
        num_macs = count_macs(model, IN_CHANS, first.img_size)
        for claim in of_one_network:
            counted = num_macs if claim.quantity == "MACs" else count(model, claim)
            ratio, verdict = judge(counted, claim.claimed)
            total = count_parameters(model)["total"]
            yield AuditedClaim(claim, counted, ratio, verdict, total, num_macs, init_options(claim.model))


def count(model: nn.Module, claim: Claim) -> int | str:
    """The claim's quantity on the network.

    Raises:
        ModelError: the network has no such quantity.
    """
    if claim.quantity == "parameters":
        return count_parameters(model)["total"]
    if claim.quantity == "trainable parameters":
        return _count_trainable(model, claim)
    if claim.quantity not in ("depths", "convolution depths", "MLP ratio"):
        raise ModelError(f"A claim must be of a quantity that can be counted. Got {claim.quantity!r}. Change it.")
    stages: Any = getattr(model, "stages", None)
    if stages is None:
        raise ModelError(f"A {claim.quantity} claim needs a model with stages. Got {claim.model}. Change the claim.")
    if claim.quantity == "MLP ratio":
        first_layer = stages[-1].blocks[-1].mlp.fc1
        return f"{first_layer.out_features / first_layer.in_features:g}"
    kind = ConvNeXtBlock if claim.quantity == "convolution depths" else nn.Module
    return "-".join(str(sum(isinstance(block, kind) for block in stage.blocks)) for stage in stages)


def _count_trainable(model: nn.Module, claim: Claim) -> int:
    """Parameters that the claim's pattern does not freeze; a pattern that freezes none is out of date."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    frozen = {name for name in sizes if claim.frozen and re.search(claim.frozen, name)}
    if not frozen:
        raise ModelError(f"A pattern must freeze parameters of {claim.model}. Got {claim.frozen!r}. Change the claim.")
    return sum(size for name, size in sizes.items() if name not in frozen)


def judge(counted: int | str, claimed: str | None) -> tuple[float | None, str]:
    """Ratio of counted to claimed, None where one is no number, and the verdict; a claim holds to its last digit."""
    if claimed is None:
        return None, "none claimed"
    if isinstance(counted, str):
        return None, "equal" if counted == claimed else "not equal"
    found = _NUMBER.fullmatch(claimed)
    if found is None:
        raise ModelError(f"A claimed number must read as 21.92 M or 95,307,272. Got {claimed!r}. Change the claim.")
    unit = _UNITS[found[3]]
    value = float(found[1].replace(",", "")) * unit
    half_a_digit = unit * 10.0 ** -len(found[2] or "") / 2
    ratio = counted / value
    if counted == value:
        return ratio, "equal"
    if abs(counted - value) <= half_a_digit:
        return ratio, "equal as rounded"
    if abs(ratio - 1) < 0.01:
        return ratio, f"{100 * abs(ratio - 1):.2f} % {'above' if ratio > 1 else 'below'} the claim"
    return ratio, f"{ratio:.3g} times the claim"


def init_options(name: str) -> tuple[InitOption, ...]:
    """What `model.init` can be for a model: random weights always, published ones where there are some."""
    scratch = InitOption("scratch")
    if name not in DONORS and not weight_tags(name):
        return (scratch,)
    published = imagenet_weights(name)
    return scratch, InitOption("imagenet", published.name, published.license)
