"""Kept tokens: how many prunings each place survived, and its importance at the last of them.

The whole part of a value is the number of prunings that the token survived. The part after it is the token's
importance at the last of these, a share of the largest. Places that the first pruning dropped are 0. It says what the
network kept, which is the same for every class.
Source: what `ModelOutput` tells of H-CoAtNet and GFT, whose files name theirs.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.explanation.subject import Subject
from chiron.explanation.tokens import Pruning, pruning_of

TITLE = "Kept tokens"
CLASS_SPECIFIC = False
COST = "one forward pass"
BELOW_ONE = 0.999  # the strongest token stays below those that survived one more


def why_not(subject: Subject) -> str | None:
    """The reason where the network drops no tokens."""
    one = subject.rows(torch.zeros(1, dtype=torch.long, device=subject.image.device))
    return None if pruning_of(one) else "it keeps all its tokens. Choose grad_cam."


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid that enters the first pruning."""
    pruning = pruning_of(subject)
    if pruning is None:
        raise ExplainError(f"Tokens must be pruned. Got {type(subject.network).__name__}. Choose grad_cam.")
    return rearrange(survival(pruning), "b (gh gw) -> b gh gw", gh=pruning.grid[0])


def survival(pruning: Pruning) -> Float[Tensor, "b _n"]:
    """The value of each place, along the rows of the grid."""
    first = pruning.shares[0]
    values = torch.zeros_like(first)
    entered = torch.arange(first.shape[1], device=first.device).expand_as(first)
    for number, (kept, shares) in enumerate(zip(pruning.kept, pruning.shares, strict=True), start=1):
        importance = torch.zeros_like(values).scatter(1, entered, shares)
        strength = importance.gather(1, kept) / shares.amax(dim=1, keepdim=True)
        values = values.scatter(1, kept, number + BELOW_ONE * strength)
        entered = kept
    return values
