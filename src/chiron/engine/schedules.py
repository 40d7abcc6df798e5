"""Learning rate as a pure function of the step, so that a resumed run needs no state for it."""

import math

from chiron.spec.train_recipe import TrainRecipe


def learning_rate(
    train: TrainRecipe, *, epoch: int, step_in_epoch: int, num_batches: int, rate_factor: float = 1.0
) -> float:
    """The rate of one step of a run: warm-up, then what `train.schedule` says.

    With `schedule_per: epoch` the formulas count epochs instead of steps, and the rate is constant within one.

    Args:
        epoch, step_in_epoch: both from 0.
        num_batches: steps of one epoch.
        rate_factor: of plateau, what became of the rate so far.
    """
    if train.schedule_per == "epoch":
        step, warmup_steps, total_steps = epoch, train.warmup_epochs, train.epochs
    else:
        step = epoch * num_batches + step_in_epoch
        warmup_steps, total_steps = round(train.warmup_epochs * num_batches), train.epochs * num_batches
    if step < warmup_steps:
        return linear_warmup(step, num_steps=warmup_steps, start=train.warmup_lr, lr=train.lr)
    if train.schedule == "constant":
        return train.lr
    if train.schedule == "plateau":
        return max(train.lr * rate_factor, train.min_lr)
    if train.schedule != "cosine":
        raise NotImplementedError(train.schedule)
    return cosine(step - warmup_steps, num_steps=total_steps - warmup_steps, lr=train.lr, min_lr=train.min_lr)


def linear_warmup(step: float, *, num_steps: float, start: float, lr: float) -> float:
    """From `start` at step 0 in equal steps to `lr` at step `num_steps`.

    Example:
        >>> linear_warmup(1, num_steps=4, start=0.0, lr=1.0)
        0.25
    """
    return start + (lr - start) * step / num_steps


def cosine(step: float, *, num_steps: float, lr: float, min_lr: float) -> float:
    """Half a cosine from `lr` at step 0 to `min_lr` at step `num_steps`.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, one period.
    Example:
        >>> cosine(1, num_steps=2, lr=1.0, min_lr=0.0)
        0.5
    """
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * step / num_steps)) / 2
