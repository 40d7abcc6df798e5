"""The optimizers, in torch's own implementations; weight decay acts on every parameter."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from chiron.spec.recipe import TrainRecipe

_BETAS = (0.9, 0.999)


def make_optimizer(train: TrainRecipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer that the recipe names.

    `adam` adds the weight decay to the gradient (an L2 penalty), `adamw` shrinks the weights beside the step, `sgd`
    has momentum (not Nesterov's) and adds the decay to the gradient.
    """
    if train.optimizer == "sgd":
        return SGD(parameters, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay)
    kind = AdamW if train.optimizer == "adamw" else Adam
    return kind(parameters, lr=train.lr, betas=_BETAS, weight_decay=train.weight_decay, fused=True)
