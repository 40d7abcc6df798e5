"""Where tokens stand: the grid of a number of tokens, and the places of those that a pruning network kept."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.explanation.subject import Subject
from chiron.models.headed import HeadedModel

__all__ = ["Pruning", "grid_of", "pruning_of"]


@dataclass(frozen=True)
class Pruning:
    """What the prunings of a network kept, counted along the rows of the grid that entered the first of them."""

    grid: tuple[int, int]
    kept: tuple[Int[Tensor, "b _kept"], ...]  # a pruning each: places of the tokens that it left
    shares: tuple[Float[Tensor, "b _entered"], ...]  # a pruning each: importance of those that entered it; sums to 1

    @property
    def num_places(self) -> int:
        """How many tokens entered the first pruning."""
        return self.grid[0] * self.grid[1]


def grid_of(num_tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of so many tokens in the proportion of the image, or None where they form no such grid."""
    rows = round((num_tokens * height / width) ** 0.5) if num_tokens > 1 else 0
    columns = num_tokens // rows if rows else 0
    fits = rows * columns == num_tokens > 1 and abs(rows * width - columns * height) < max(width, height)
    return (rows, columns) if fits else None


@torch.no_grad()
def pruning_of(subject: Subject) -> Pruning | None:
    """What the network kept of each image, or None where it drops no tokens."""
    network = subject.network.backbone if isinstance(subject.network, HeadedModel) else subject.network
    if not hasattr(network, "keep_ratios"):
        return None
    output = network.forward_named(*subject.inputs)  # type: ignore[operator]
    grid = grid_of(output.token_scores[0].shape[1], *subject.image.shape[-2:])
    return None if grid is None else Pruning(grid, output.kept_tokens, output.token_scores)
