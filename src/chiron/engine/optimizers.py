"""The optimizers, in torch's and timm's own implementations, and the groups that their parameters form."""

from fnmatch import fnmatch
from typing import Any

import timm.optim
from timm.models import group_parameters
from timm.optim import auto_group_layers
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from chiron.core.errors import SpecError
from chiron.engine.freezing import names_of_stages
from chiron.spec.train_recipe import TrainRecipe


def make_optimizer(train: TrainRecipe, model: nn.Module) -> Optimizer:
    """The optimizer that the recipe names, of all parameters that learn in any epoch.

    `adam` adds the weight decay to the gradient (an L2 penalty), `adamw` shrinks the weights beside the step, `sgd`
    has momentum (not Nesterov's) and adds the decay to the gradient. Every other name is timm's, with timm's defaults.
    Each group has an `lr_scale`, its share of the learning rate.

    Raises:
        SpecError: the optimizer does not take its arguments, or `train.freeze` names no stage of the model.
    """
    groups = parameter_groups(train, model)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in train.optimizer_args.items()}
    try:
        if train.optimizer == "sgd":
            return SGD(groups, lr=train.lr, **{"momentum": train.momentum, **options})
        if train.optimizer in ("adam", "adamw"):
            kind = AdamW if train.optimizer == "adamw" else Adam
            return kind(groups, lr=train.lr, **{"fused": True, **options})
        # timm passes the momentum on where the optimizer has one
        return timm.optim.create_optimizer_v2(
            groups, train.optimizer, lr=train.lr, weight_decay=train.weight_decay, momentum=train.momentum, **options
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise SpecError(
            f"train.optimizer {train.optimizer} must take its arguments. Got {error}. Change train.optimizer_args."
        ) from error


def parameter_groups(train: TrainRecipe, model: nn.Module) -> list[dict[str, Any]]:
    """Parameters by their share of the learning rate and their decay; those that never learn are in none.

    Raises:
        SpecError: `train.freeze` names no stage of the model.
    """
    # A parameter without gradient never gets a state of the optimizer.
    never = set(getattr(model, "parameters_not_learned", ()))
    of_layers = {} if train.layer_decay is None else layer_scales(model, train.layer_decay)
    of_stages: dict[str, float] = {}
    for part in train.freeze:
        names = names_of_stages(model, part.stages)
        if part.epochs is None:
            never |= names
        of_stages |= dict.fromkeys(names, part.lr_scale)
    spared = _without_decay(model) if train.weight_decay_on == "weights" else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name not in never:
            lr_scale = of_layers.get(name, 1.0) * of_stages.get(name, 1.0)
            groups.setdefault((lr_scale, 0.0 if name in spared else train.weight_decay), []).append(parameter)
    if not groups:
        raise SpecError("Some stage must learn. Got train.freeze with all of them. Leave one out.")
    return [
        {"params": members, "weight_decay": decay, "lr_scale": lr_scale}
        for (lr_scale, decay), members in groups.items()
    ]


def layer_scales(model: Any, decay: float) -> dict[str, float]:
    """Each parameter's share of the learning rate: `decay` to the power of its layer's distance from the last one.

    Source: Bao et al. 2022, arXiv:2106.08254; the layers are those of timm.optim.param_groups_layer_decay.
    """
    if hasattr(model, "group_matcher"):
        layers = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    else:
        layers = auto_group_layers(model)
    last = max(layers.values())
    return {name: decay ** (last - layers.get(name, last)) for name, _ in model.named_parameters()}


def _without_decay(model: Any) -> set[str]:
    """Norms, biases, and what the model excepts by name or pattern, as timm has it."""
    patterns = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or name.endswith(".bias") or any(fnmatch(name, pattern) for pattern in patterns)
    }


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Gives each group its share of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Sets the momentum, or what Adam and its kin have in its place, beta1; does nothing where there is neither."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum
