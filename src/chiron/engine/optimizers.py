"""The optimizers, in torch's and timm's own implementations, and the groups that their parameters form."""

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from chiron.engine.freezing import names_of_stages
from chiron.spec.train_recipe import TrainRecipe


def make_optimizer(train: TrainRecipe, model: nn.Module) -> Optimizer:
    """The optimizer that the recipe names, of all parameters that learn in any epoch.

    `adam` adds the weight decay to the gradient (an L2 penalty), `adamw` shrinks the weights beside the step, `sgd`
    has momentum (not Nesterov's) and adds the decay to the gradient. Each group has an `lr_scale`, its share of the
    learning rate.
    """
    groups, options = _groups(train, model), dict(train.optimizer_args)
    if train.optimizer == "sgd":
        return SGD(groups, lr=train.lr, **{"momentum": train.momentum, **options})
    kind = AdamW if train.optimizer == "adamw" else Adam
    return kind(groups, lr=train.lr, **{"betas": (0.9, 0.999), "fused": True, **options})


def _groups(train: TrainRecipe, model: nn.Module) -> list[dict[str, Any]]:
    """Parameters by their share of the learning rate; those that never learn are in none."""
    # A parameter without gradient never gets a state of the optimizer.
    never = set(getattr(model, "parameters_not_learned", ()))
    scale: dict[str, float] = {}
    for part in train.freeze:
        names = names_of_stages(model, part.stages)
        if part.epochs is None:
            never |= names
        scale |= dict.fromkeys(names, part.lr_scale)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name not in never:
            groups.setdefault(scale.get(name, 1.0), []).append(parameter)
    return [
        {"params": members, "weight_decay": train.weight_decay, "lr_scale": share} for share, members in groups.items()
    ]


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Gives each group its share of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
