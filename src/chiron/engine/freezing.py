"""Stages that do not learn: without gradient, and with BatchNorm statistics that stand still."""

import logging
from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from chiron.core.errors import SpecError
from chiron.core.suggest import did_you_mean
from chiron.models.stages import named_stages, names_below
from chiron.spec.train_recipe import FreezeRecipe

log = logging.getLogger("chiron.train")


def names_of_stages(model: nn.Module, stages: Iterable[str]) -> set[str]:
    """Names of all parameters in these stages.

    Raises:
        SpecError: the model has no such stage.
    """
    known = named_stages(model)
    names: set[str] = set()
    for stage in stages:
        if stage not in known:
            raise SpecError(
                f"train.freeze must name stages of the network: {', '.join(known)}. Got {stage!r}. "
                f"{did_you_mean(stage, list(known))}".rstrip()
            )
        names |= set(names_below(model, known[stage]))
    return names


def frozen_names(model: nn.Module, freeze: Iterable[FreezeRecipe], epoch: int) -> set[str]:
    """Names of the parameters that do not learn in `epoch`, counted from 0."""
    names: set[str] = set()
    for part in freeze:
        if part.epochs is None or epoch < part.epochs:
            names |= names_of_stages(model, part.stages)
    return names


def apply_freezing(model: nn.Module, freeze: Iterable[FreezeRecipe], epoch: int) -> bool:
    """Sets which parameters learn in `epoch`, and puts the model into training mode but for frozen BatchNorm.

    Returns:
        Whether other parameters learn than before.
    """
    frozen, changed = frozen_names(model, freeze, epoch), False
    for name, parameter in model.named_parameters():
        changed |= parameter.requires_grad == (name in frozen)
        parameter.requires_grad_(name not in frozen)
    model.train()
    for name, layer in model.named_modules():
        own = [f"{name}.{key}" if name else key for key, _ in layer.named_parameters(recurse=False)]
        if isinstance(layer, _BatchNorm) and own and frozen.issuperset(own):
            layer.eval()
    return changed


def tell_trainable(model: nn.Module) -> None:
    """One line: how many parameters learn, and how many of these would if anything read them."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    total = sum(parameter.numel() for parameter in model.parameters())
    unread = sum(sizes.get(name, 0) for name in getattr(model, "parameters_not_learned", ()))
    but = f", but for {unread:,} that never get a gradient" if unread else ""
    log.info("%s of %s parameters learn%s", f"{sum(sizes.values()):,}", f"{total:,}", but)
