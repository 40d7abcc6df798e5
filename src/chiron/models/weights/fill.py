"""Puts named tensors into a network: every shape must fit, and what is loaded and what stays as drawn is counted."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.core.printable import printable

_NUM_TOLD = 5


@dataclass(frozen=True)
class Filled:
    """Names of tensors, and how many parameters they hold."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]  # the network has them, the source does not: they stay as drawn
    unexpected: tuple[str, ...]  # the source has them, the network does not
    left_out: tuple[str, ...]  # the classifier of another number of classes
    num_loaded: int
    num_drawn: int


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str, keep_classifier: bool = False) -> Filled:
    """Copies the tensors that the network has, resampled where only the size of the input differs.

    Position embeddings go to the network's grid, and the first convolution to its channels, as in timm. A classifier
    of another number of classes is left out.

    Args:
        source: what the tensors are called in messages.
        keep_classifier: whether a classifier of another number of classes is a mistake as any other shape.
    Raises:
        ModelError: a shape or kind of number differs, or no name is the network's; the network is then as it was.
    """
    own = model.state_dict()
    classifier = () if keep_classifier else classifier_names(model)
    fitted: dict[str, Tensor] = {}
    left_out, wrong = [], []
    for name in [name for name in own if name in tensors]:
        tensor = _fit(model, name, tensors[name], own[name])
        if tensor is not None:
            fitted[name] = tensor
        elif name in classifier and _differs_in_classes(tensors[name], own[name]):
            left_out.append(name)
        else:
            wrong.append(f"{name} {_told(tensors[name])} for {_told(own[name])}")
    if wrong:
        hint = " A classifier of other classes can be left out: --leave-out-classifier." if keep_classifier else ""
        raise ModelError(
            f"The shapes of {source} must be those of the network. Got {first_names(wrong)}. "
            f"Choose the model and arguments that the weights were made with.{hint}"
        )
    if not fitted:
        raise ModelError(
            f"The tensors of {source} must have names of the network. Got {first_names(tensors) or 'no tensors'}, and "
            f"the network has {first_names(own)}. Choose the model that the weights were made with."
        )
    return _load(model, fitted, own, tensors.keys() - own.keys(), left_out)


def _differs_in_classes(tensor: Tensor, own: Tensor) -> bool:
    return tensor.shape[1:] == own.shape[1:] and tensor.shape[:1] != own.shape[:1]


def _told(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{kind}"


def _load(
    model: nn.Module,
    fitted: dict[str, Tensor],
    own: Mapping[str, Tensor],
    unexpected: Collection[str],
    left_out: list[str],
) -> Filled:
    too_large = [name for name, tensor in fitted.items() if not bool(tensor.to(own[name].dtype).isfinite().all())]
    if too_large:
        raise ModelError(
            f"Weights must be finite in the network's precision. Got others in {first_names(too_large)}. "
            "Take another checkpoint."
        )
    model.load_state_dict(fitted, strict=False)
    num_loaded = sum(p.numel() for name, p in model.named_parameters() if name in fitted)
    return Filled(
        matched=tuple(sorted(fitted)),
        missing=tuple(name for name in model.state_dict() if name not in fitted and name not in left_out),
        unexpected=tuple(sorted(unexpected)),
        left_out=tuple(sorted(left_out)),
        num_loaded=num_loaded,
        num_drawn=sum(p.numel() for p in model.parameters()) - num_loaded,
    )


def count_loaded(model: nn.Module) -> tuple[int, int]:
    """Parameters that timm loaded, and that it left as drawn: a classifier of another number of classes."""
    config = getattr(model, "pretrained_cfg", None) or {}
    drawn = classifier_names(model) if config.get("num_classes") != getattr(model, "num_classes", None) else ()
    num_drawn = sum(p.numel() for name, p in model.named_parameters() if name in drawn)
    return sum(p.numel() for p in model.parameters()) - num_drawn, num_drawn


def require_names(model: nn.Module, names: Collection[str], *, source: str) -> None:
    """Refuses names that the network lacks.

    Raises:
        ModelError: with the first of them.
    """
    unknown = sorted(set(names) - model.state_dict().keys())
    if unknown:
        raise ModelError(
            f"Every tensor of {source} must have a place in the network. Got {first_names(unknown)}. "
            "Use the arguments that the model has by default, or init: scratch."
        )


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the tensors of the layers that give the logits, as timm's configuration of the model says."""
    layers = _layers(model, "classifier")
    return tuple(name for name in model.state_dict() if name.rpartition(".")[0] in layers)


def first_conv_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the kernels that see the image."""
    return tuple(f"{layer}.weight" for layer in _layers(model, "first_conv"))


def first_names(names: Collection[str]) -> str:
    """The first few of them in a message, however long they are and whatever characters they have."""
    told = [printable(name if len(name) <= 90 else name[:60] + "...") for name in list(names)[:_NUM_TOLD]]
    return ", ".join(told) + (f" and {len(names) - _NUM_TOLD} more" if len(names) > _NUM_TOLD else "")


def _layers(model: nn.Module, key: str) -> tuple[str, ...]:
    config = getattr(model, "pretrained_cfg", None) or {}
    layers = config.get(key) or ()
    return (layers,) if isinstance(layers, str) else tuple(layers)


def _fit(model: nn.Module, name: str, tensor: Tensor, own: Tensor) -> Tensor | None:
    """The tensor in the shape of the network's own; None where there is no way."""
    if own.is_floating_point() and not tensor.is_floating_point():
        return None  # whole numbers are no weights until somebody says how they are scaled
    if tensor.shape == own.shape:
        return tensor
    if name.rpartition(".")[2] == "pos_embed" and tensor.ndim == own.ndim == 3 and tensor.shape[-1] == own.shape[-1]:
        return _resampled(model, tensor, own)
    is_kernel = name in first_conv_names(model) and tensor.ndim == own.ndim == 4 and tensor.shape[1] == 3
    if is_kernel and (tensor.shape[0], *tensor.shape[2:]) == (own.shape[0], *own.shape[2:]):
        return adapt_input_conv(own.shape[1], tensor)
    return None


def _resampled(model: nn.Module, tensor: Tensor, own: Tensor) -> Tensor | None:
    """Position embeddings on the network's square grid; tokens before the grid, such as a class token, stay."""
    for num_prefix in range(3):
        sides = [math.isqrt(max(0, t.shape[1] - num_prefix)) for t in (tensor, own)]
        if all(side and side**2 == t.shape[1] - num_prefix for side, t in zip(sides, (tensor, own), strict=True)):
            old, new = ([side, side] for side in sides)
            return resample_abs_pos_embed(tensor.float(), new, old, num_prefix_tokens=num_prefix)
    return None
