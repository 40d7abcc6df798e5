"""What `auto` takes: an explainer that passed its checks on the bundle itself, or else the one that found planted
findings best in networks of the same kind.

`evidence.json` is what `chiron bench explainers` measured. A network is of a kind by what runs in it:

    hybrid  attention, and convolutions whose windows overlap
    vit     attention alone; cutting an image into patches is a convolution whose windows do not overlap
    cnn     such convolutions alone
    other   neither of the two

`auto` takes only explainers whose map depends on the class: one that is the same for every class cannot say what speaks
for the class that is asked for, however often it finds what is planted.
"""

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from chiron.core.errors import ExplainError
from chiron.core.registry import load_leaf
from chiron.explanation.attention import runs_attention
from chiron.explanation.checked import standing_in_bundle
from chiron.explanation.subject import Subject
from chiron.spec.explainer_check import ExplainerCheck

__all__ = ["EVIDENCE", "FALLBACK", "Choice", "NetworkKind", "Standing", "choose", "chosen", "kind_of", "standing"]

log = logging.getLogger("chiron.explain")
EVIDENCE = Path(__file__).with_name("evidence.json")
# Fits networks with places; fits all. HiRes-CAM weighs each place by its own gradient, so that it holds where later
# layers mix places too: in a hybrid it found what Grad-CAM missed (experiments/LOG.md).
FALLBACK = ("hires_cam", "occlusion")
EXPLAINERS = "chiron.explanation.explainers"
NetworkKind = Literal["cnn", "vit", "hybrid", "other"]


class Standing(NamedTuple):
    """How an explainer is labeled for a kind of network, and why."""

    label: Literal["recommended", "experimental"]
    reason: str


class Choice(NamedTuple):
    """What `auto` takes for a network, and why."""

    method: str
    kind: NetworkKind
    standing: Standing
    reason: str


def choose(subject: Subject, checks: Sequence[ExplainerCheck] = (), *, class_name: str | None = None) -> str:
    """The explainer's name; where no evidence speaks for it, a warning says so. Arguments as of `chosen`."""
    choice = chosen(subject, checks, class_name=class_name)
    if choice.standing.label == "experimental":
        log.warning("%s", choice.reason)
    return choice.method


def chosen(subject: Subject, checks: Sequence[ExplainerCheck] = (), *, class_name: str | None = None) -> Choice:
    """The first explainer that fits: of those that passed on this bundle, of the evidence, and of `FALLBACK`.

    Args:
        checks: of the bundle (`classifier.explainers`).
        class_name: the class that is explained; None for each image's most probable one.
    Raises:
        ExplainError: none fits.
    """
    kind = kind_of(subject)
    ranked = _ranked(kind)
    known = list(dict.fromkeys((*ranked, *FALLBACK, *(it.method for it in checks))))
    in_bundle = {method: standing_in_bundle(checks, method, class_name=class_name) for method in known}
    for method in sorted(known, key=lambda it: not in_bundle[it].may_be_shown):  # stable: the order stays else
        leaf = load_leaf(EXPLAINERS, method, kind="explainer")
        if not leaf.CLASS_SPECIFIC or leaf.why_not(subject) is not None:
            continue
        if in_bundle[method].may_be_shown:
            reason = f"{method} is taken: it is {in_bundle[method].words}"
            return Choice(method, kind, Standing("recommended", in_bundle[method].words), reason)
        label = standing(method, kind)
        if method in ranked:
            how = f"{method} is taken: of what fits this network it found planted findings best in {kind} networks"
        else:
            how = f"{method} is taken without evidence: none was measured that fits this network, whose kind is {kind}"
        return Choice(method, kind, label, f"{how}. It is {label.label}: {label.reason}.")
    raise ExplainError(
        f"auto must find an explainer that fits. Got {type(subject.network).__name__}, which none does. "
        "Name one: integrated_gradients or smooth_grad need its gradient alone."
    )


def standing(method: str, kind: NetworkKind) -> Standing:
    """Whether the evidence recommends an explainer for a kind of network: in each such network that counts."""
    measured = _measured(kind).get(method)
    if not measured:
        return Standing("experimental", f"it was not measured on {kind} networks")
    reasons = [reason for found in measured for reason in found["reasons"]]
    if reasons:
        return Standing("experimental", reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""))
    return Standing(
        "recommended",
        f"its maps hit {_hit_rate(measured):.0%} of planted findings in {kind} networks, more than every control, and "
        "passed the other checks",
    )


def kind_of(subject: Subject) -> NetworkKind:
    """The kind of the subject's network, by the rule at the top of this module."""
    convolves = any(
        isinstance(layer, nn.Conv2d) and any(k > s for k, s in zip(layer.kernel_size, layer.stride, strict=True))
        for layer in subject.network.modules()
    )
    if runs_attention(subject):
        return "hybrid" if convolves else "vit"
    return "cnn" if convolves else "other"


@lru_cache
def read_evidence(path: Path = EVIDENCE) -> dict[str, Any]:
    """What `chiron bench explainers` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def _measured(kind: NetworkKind) -> dict[str, list[dict[str, Any]]]:
    """Explainer -> what each network of this kind that counts showed of it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for network in read_evidence(EVIDENCE)["networks"]:
        if network["kind"] == kind and network["counts"]:
            for method, result in network["explainers"].items():
                found.setdefault(method, []).append(result)
    return found


def _ranked(kind: NetworkKind) -> list[str]:
    """Explainers by the evidence: recommended ones first, then by hit rate."""
    measured = _measured(kind)
    return sorted(measured, key=lambda it: (standing(it, kind).label != "recommended", -_hit_rate(measured[it])))


def _hit_rate(measured: list[dict[str, Any]]) -> float:
    return sum(it["estimates"]["pointing"]["value"] for it in measured) / len(measured)
