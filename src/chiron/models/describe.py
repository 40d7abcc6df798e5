"""What `chiron models` tells of a network: counts found by building it and running one black image."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from chiron.models.create import create_model, example_inputs, imagenet_weights, require_known
from chiron.models.registry import DONORS
from chiron.models.stages import is_below, named_stages, names_below
from chiron.models.weights.pretrained import weight_tags


@dataclass(frozen=True)
class ModelDescription:
    """What `chiron models` tells of a network."""

    name: str
    num_parameters: int
    num_macs: int  # multiplications with addition for one image
    num_classes: int
    in_chans: int
    img_size: int  # pixels
    weight_tags: dict[str, str | None]  # sets of pretrained weights and their licenses, None where timm names none


def describe_model(
    name: str, *, num_classes: int = 2, in_chans: int = 3, img_size: int | None = None, **model_args: Any
) -> ModelDescription:
    """Counts of a network with random weights, found by building it and running one black image.

    Args:
        img_size: side of the input, pixels; None takes the size that the model was made for.
    Raises:
        ModelError: as `create_model`.
    """
    require_known(name)
    architecture = name.partition(".")[0]
    img_size = img_size or _own_size(architecture)
    model = create_model(
        name,
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=img_size,
        init="scratch",
        seed=0,
        **model_args,
    )
    return ModelDescription(
        name=name,
        num_parameters=count_parameters(model)["total"],
        num_macs=count_macs(model, in_chans, img_size),
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=img_size,
        weight_tags=_licenses(architecture),
    )


@dataclass(frozen=True)
class Stage:
    """A part of a network that can be frozen as a whole."""

    name: str
    num_parameters: int
    prefixes: tuple[str, ...]  # of the names of its parameters


def describe_stages(name: str) -> list[Stage]:
    """The stages of a network, in order from the image.

    Raises:
        ModelError: as `create_model`, or the model says no stages.
    """
    require_known(name)
    size = _own_size(name.partition(".")[0])
    model = create_model(name, num_classes=2, in_chans=3, img_size=size, init="scratch", seed=0)
    stages = {stage: names_below(model, prefixes) for stage, prefixes in named_stages(model).items()}
    sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
    return [
        Stage(stage, sum(sizes[key] for key in names), _common_prefixes(names, sizes.keys() - set(names)))
        for stage, names in stages.items()
    ]


def _common_prefixes(names: list[str], others: Collection[str]) -> tuple[str, ...]:
    """The fewest dotted prefixes that all of `names` and none of `others` begin with, in order."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        prefixes = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
        found[next(p for p in prefixes if not any(is_below(other, (p,)) for other in others))] = None
    return tuple(found)


def _own_size(architecture: str) -> int:
    """Side of the input that a model was made for, pixels."""
    config = timm.models.get_pretrained_cfg(architecture)
    return config.input_size[-1] if config else 224


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Number of all parameters (`total`) and of those that training changes (`trainable`); a shared one counts once."""
    parameters = list(model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {"total": sum(parameter.numel() for parameter in parameters), "trainable": trainable}


def _licenses(architecture: str) -> dict[str, str | None]:
    if architecture in DONORS:
        published = imagenet_weights(architecture)
        return {published.name: published.license}
    return {tag: config.license for tag, config in weight_tags(architecture).items()}


def count_macs(model: nn.Module, in_chans: int, img_size: int) -> int:
    """Multiply-adds of convolutions, linear layers and attention for one image."""
    was_training = model.training
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    inputs = example_inputs(model, torch.zeros(1, in_chans, img_size, img_size))
    try:
        model.requires_grad_(False)  # the counter's hooks stumble over a parameter that is a layer's input
        # The plain kernel is made of matrix products, which the counter knows on every version and device.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.eval()(*inputs)
    finally:
        model.train(was_training)
        for parameter in learned:
            parameter.requires_grad_(True)
    return counter.get_total_flops() // 2
