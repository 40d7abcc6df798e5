"""`check_explainer`: what every explainer in Chiron must do with every network, those of outside packages too."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.core.registry import load_leaf
from chiron.explanation.explain import EXPLAINERS
from chiron.explanation.subject import Subject

__all__ = ["check_explainer"]

NUM_IMAGES, NUM_ASKED = 2, 2  # images and classes that are asked for
TOLERANCE = 1e-4  # of an image alone against itself in a batch, as a share of its largest value


def check_explainer(name: str, subject: Subject) -> str | None:
    """None where the explainer keeps the contract with this network, or the reason why it cannot explain it.

    Args:
        subject: a network with at least two images and two classes; the classes asked for are chosen here.
    Raises:
        ExplainError: a rule is broken; the message names it.
    """
    leaf = load_leaf(EXPLAINERS, name, kind="explainer")
    _require(bool(leaf.TITLE and leaf.COST), name, "A leaf must say TITLE and COST", (leaf.TITLE, leaf.COST))
    before, generators = _condition(subject), _generators()
    reason = leaf.why_not(subject)
    if reason is not None:
        _require(isinstance(reason, str) and bool(reason.strip()), name, "why_not must give a reason", repr(reason))
        return reason
    images = torch.arange(NUM_IMAGES).repeat_interleave(NUM_ASKED)
    classes = torch.arange(NUM_ASKED).repeat(NUM_IMAGES)
    asked = subject.rows(images.to(subject.image.device)).asking(classes.to(subject.image.device))
    maps = leaf.explain(asked, seed=0)
    _check_values(name, maps.detach(), len(asked))
    _check_classes(name, maps, specific=leaf.CLASS_SPECIFIC)
    _check_alone(name, leaf, asked, maps)
    _require(not maps.requires_grad, name, "A map must hold no graph", "one that does")
    changed = [what for what, value in _condition(subject).items() if before.get(what) != value]
    _require(not changed and not before.keys() - _condition(subject), name, "Nothing may stay behind", changed[:3])
    _require(generators == _generators(), name, "Random generators must stay as they were", "a change")
    return None


def _require(holds: bool, name: str, rule: str, got: object) -> None:
    if not holds:
        raise ExplainError(f"{rule}. Got {got} from {name}. Mend the explainer.")


def _check_values(name: str, maps: Tensor, count: int) -> None:
    """One finite map of 0 or more for each row; each image has a class whose map differs from place to place."""
    shape = tuple(maps.shape)
    _require(maps.ndim == 3 and shape[0] == count, name, f"Maps must be ({count}, h, w)", shape)
    _require(bool(torch.isfinite(maps).all()), name, "Maps must be finite", "NaN or infinity")
    _require(bool((maps >= 0).all()), name, "Maps must be 0 or more", float(maps.min()))
    differs = (maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2))).reshape(NUM_IMAGES, NUM_ASKED).any(dim=1)
    _require(bool(differs.all()), name, "A map must differ from place to place for some class", "the same everywhere")


def _check_classes(name: str, maps: Float[Tensor, "b _gh _gw"], *, specific: bool) -> None:
    """CLASS_SPECIFIC is true."""
    first, second = maps[0::NUM_ASKED], maps[1::NUM_ASKED]
    gaps = [_gap(a, b) for a, b in zip(first, second, strict=True)]
    if specific:
        _require(min(gaps) > TOLERANCE, name, "Maps of two classes must differ (CLASS_SPECIFIC)", f"a gap of {gaps}")
    else:
        _require(max(gaps) <= TOLERANCE, name, "Maps of two classes must be equal (CLASS_SPECIFIC)", f"a gap of {gaps}")


def _check_alone(name: str, leaf: Any, asked: Subject, maps: Float[Tensor, "b _gh _gw"]) -> None:
    """An image alone, where the caller takes no gradients, has the map that it has in a batch; a seed has one map."""
    for row in (0, len(asked) - 1):
        place = torch.tensor([row], device=asked.image.device)
        with torch.no_grad():
            alone = leaf.explain(asked.rows(place), seed=0)
        gap = _gap(maps[row], alone[0])
        _require(gap <= TOLERANCE, name, "An image alone must have the map that it has in a batch", f"a gap of {gap:g}")
    again = leaf.explain(asked.rows(place), seed=0)
    _require(torch.equal(alone, again), name, "A seed must have one map", "two")


def _gap(a: Float[Tensor, "gh gw"], b: Float[Tensor, "gh gw"]) -> float:
    """The largest difference as a share of the largest value; 0 for two blank maps."""
    return float((a - b).abs().max() / torch.maximum(a.max(), b.max()).clamp(min=1e-30))


def _condition(subject: Subject) -> dict[str, object]:
    """All that an explainer could leave behind: hooks, flags, gradients, other weights, other inputs."""
    found: dict[str, object] = {}
    for name, layer in subject.network.named_modules():
        for key, value in vars(layer).items():
            if isinstance(value, bool | int | float | str | None):
                found[f"{name}.{key}"] = value
            elif key.endswith("_hooks"):
                found[f"{name}.{key}"] = len(value)
            else:
                found[f"{name}.{key} is"] = id(value)
    for name, value in [*subject.network.named_parameters(), *subject.network.named_buffers()]:
        found[f"{name} holds"] = (value.requires_grad, value.grad is None, value.double().sum().item())
    for place, value in enumerate(subject.inputs):
        found[f"input {place}"] = (value.requires_grad, value.grad is None, value.double().sum().item())
    return found


def _generators() -> tuple[bytes, str]:
    """States of the global random generators of torch and numpy."""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state())  # noqa: NPY002
