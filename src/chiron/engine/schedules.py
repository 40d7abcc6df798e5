"""Learning rate as a pure function of the step, so that a resumed run needs no state for it."""

import math


def warmup_cosine(step: int, *, total_steps: int, warmup_steps: int, lr: float, min_lr: float) -> float:
    """The rate of step `step` (from 0): linear from lr / warmup_steps to lr, then half a cosine down to min_lr.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, one period.
    Example:
        >>> warmup_cosine(0, total_steps=10, warmup_steps=2, lr=1.0, min_lr=0.0)
        0.5
    """
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
