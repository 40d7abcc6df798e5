"""Learning rate as a pure function of the step, so that a resumed run needs no state for it."""

import math

from chiron.spec.train_recipe import TrainRecipe

# of one_cycle, torch's defaults
_RISE = 0.3  # share of the run in which the rate rises
_START_DIVISOR = 25.0
_END_DIVISOR = 1e4  # of the rate at the start
_MOMENTUM = (0.85, 0.95)  # at the highest rate, and at both ends


def learning_rate(
    train: TrainRecipe, *, epoch: int, step_in_epoch: int, num_batches: int, rate_factor: float = 1.0
) -> float:
    """The rate of one step of a run: warm-up, then what `train.schedule` says.

    With `schedule_per: epoch` the formulas count epochs instead of steps, and the rate is constant within one.
    `one_cycle` rises by itself and has no other warm-up.

    Args:
        epoch, step_in_epoch: both from 0.
        num_batches: steps of one epoch.
        rate_factor: of plateau, what became of the rate so far.
    """
    step, steps_an_epoch = _place(train, epoch, step_in_epoch, num_batches)
    total_steps = train.epochs * steps_an_epoch
    if train.schedule == "one_cycle":
        start = train.lr / _START_DIVISOR
        return one_cycle(step, num_steps=total_steps, start=start, top=train.lr, end=start / _END_DIVISOR)
    warmup_steps = train.warmup_epochs if train.schedule_per == "epoch" else round(train.warmup_epochs * num_batches)
    if step < warmup_steps:
        return linear_warmup(step, num_steps=warmup_steps, start=train.warmup_lr, lr=train.lr)
    if train.schedule == "constant":
        return train.lr
    if train.schedule == "plateau":
        return max(train.lr * rate_factor, train.min_lr)
    place, num_steps = step - warmup_steps, total_steps - warmup_steps
    if train.schedule == "warm_restarts":
        first = train.restart_epochs * steps_an_epoch
        place, num_steps = within_period(place, first=first, mult=train.restart_mult)
    return cosine(place, num_steps=num_steps, lr=train.lr, min_lr=train.min_lr)


def cycled_momentum(train: TrainRecipe, *, epoch: int, step_in_epoch: int, num_batches: int) -> float | None:
    """The momentum, or beta1, of one step: of one_cycle it falls while the rate rises; None where nothing changes it.

    Source: torch.optim.lr_scheduler.OneCycleLR with `cycle_momentum`.
    """
    if train.schedule != "one_cycle":
        return None
    step, steps_an_epoch = _place(train, epoch, step_in_epoch, num_batches)
    low, high = _MOMENTUM
    return one_cycle(step, num_steps=train.epochs * steps_an_epoch, start=high, top=low, end=high)


def _place(train: TrainRecipe, epoch: int, step_in_epoch: int, num_batches: int) -> tuple[int, int]:
    """The step that the formulas see, and how many of those an epoch has."""
    return (epoch, 1) if train.schedule_per == "epoch" else (epoch * num_batches + step_in_epoch, num_batches)


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


def within_period(step: float, *, first: int, mult: int) -> tuple[float, int]:
    """The place of `step` in its period and the period's length: the first one's, then each `mult` times the last.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, section 3.
    Example:
        >>> within_period(7, first=2, mult=2)  # periods of 2, 4, 8 steps
        (1, 8)
    """
    length = first
    while step >= length:
        step, length = step - length, length * mult
    return step, length


def one_cycle(step: float, *, num_steps: int, start: float, top: float, end: float) -> float:
    """Half a cosine from `start` to `top` in three tenths of the steps, and another one from there to `end`.

    Source: Smith & Topin 2019, arXiv:1708.07120, in the two phases of torch.optim.lr_scheduler.OneCycleLR.
    Example:
        >>> [one_cycle(step, num_steps=10, start=0.0, top=1.0, end=0.5) for step in (0, 2, 9)]
        [0.0, 1.0, 0.5]
    """
    peak = _RISE * num_steps - 1
    if step <= peak:
        return cosine(step, num_steps=peak, lr=start, min_lr=top)
    return cosine(step - peak, num_steps=num_steps - 1 - peak, lr=top, min_lr=end)
