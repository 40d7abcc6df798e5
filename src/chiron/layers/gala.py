"""GALA: how strongly the attention to a token changes toward its neighbors, as the token's importance.

Source: GFT, arXiv:2504.09852, after the facts of the code of H-CoAtNet (github.com/Cyrax321/H-CoAtNet-Ichthyosis).
Departures: the running score is one value a position. The code's has one an image of the batch, which mixes images that
share a place in their batches, starts over when the batch size changes, and cannot be loaded into a new model.
Shapes: B batch, Q queries, N keys (tokens), P positions; a slot is a token's number among those that are left.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from timm.layers import DropPath
from torch import Tensor, nn

from chiron.layers.attention import attend
from chiron.layers.token_block import FeedForward

__all__ = [
    "CodeStage",
    "CorrectedStage",
    "RunningScore",
    "SeenAttention",
    "grid_gradient",
    "grid_neighbors",
    "importance",
    "keep_strongest",
    "line_gradient",
    "smooth_grid",
    "smooth_line",
    "standardize",
    "token_gate",
]

TEMPERATURE = 0.1  # of the softmax that makes standardized scores an importance
MOMENTUM = 0.9  # share of the past in the running score


def line_gradient(field: Float[Tensor, "b q n"]) -> Float[Tensor, "b n"]:
    """Central differences along the keys, halved, the ends repeated; absolute values summed over the queries."""
    padded = F.pad(field, (1, 1), mode="replicate")
    return (padded[..., 2:] - padded[..., :-2]).abs().sum(dim=1) / 2


def smooth_line(score: Float[Tensor, "b n"], kernel: Float[Tensor, "3"]) -> Float[Tensor, "b n"]:
    """Each score and its two neighbors in the row, weighted; zeros beyond the ends. Stays fp32 under autocast."""
    return (F.pad(score, (1, 1)).unfold(-1, 3, 1) * kernel).sum(dim=-1)


def grid_neighbors(places: Int[Tensor, "b n"], grid: tuple[int, int]) -> Int[Tensor, "b 4 n"]:
    """Slots of the tokens left, right, above and below; a neighbor that is gone or off the grid is the token itself.

    Args:
        places: where the tokens stand, counted along the rows of the grid; no place twice in an image.
        grid: rows and columns.
    """
    rows, columns = grid
    own = torch.arange(places.shape[1], device=places.device).expand_as(places)
    slots = places.new_full((places.shape[0], rows * columns), -1).scatter(1, places, own)
    row, column = places // columns, places % columns
    found = []
    for down, right in [(0, -1), (0, 1), (-1, 0), (1, 0)]:
        place = (row + down).clamp(0, rows - 1) * columns + (column + right).clamp(0, columns - 1)
        slot = slots.gather(1, place)
        found.append(torch.where(slot >= 0, slot, own))
    return torch.stack(found, dim=1)


def grid_gradient(field: Float[Tensor, "b q n"], neighbors: Int[Tensor, "b 4 n"]) -> Float[Tensor, "b n"]:
    """|d/dx| + |d/dy| of each query's field by central differences, halved, summed over the queries."""
    num_queries = field.shape[1]
    left, right, above, below = (
        field.gather(-1, slots.unsqueeze(1).expand(-1, num_queries, -1)) for slots in neighbors.unbind(dim=1)
    )
    return ((right - left).abs() + (below - above).abs()).sum(dim=1) / 2


def smooth_grid(
    score: Float[Tensor, "b n"], neighbors: Int[Tensor, "b 4 n"], kernel: Float[Tensor, "5"]
) -> Float[Tensor, "b n"]:
    """Each score and its four neighbors (left, right, above, below), weighted. Stays fp32 under autocast."""
    around = [score.gather(1, slots) for slots in neighbors.unbind(dim=1)]
    return (torch.stack([score, *around], dim=-1) * kernel).sum(dim=-1)


def standardize(score: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Scores of an image with mean 0 and standard deviation 1; zeros where all are equal."""
    centered = score - score.mean(dim=-1, keepdim=True)
    return centered / (centered.square().mean(dim=-1, keepdim=True).sqrt() + 1e-6)


def importance(score: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Softmax of the standardized scores of patch tokens, temperature 0.1; sums to 1."""
    return (score / TEMPERATURE).softmax(dim=-1)


class RunningScore(nn.Module):
    """In training, a score becomes its mean with the running score of its position; in evaluation it stays.

    The running score is 0.9 of itself and 0.1 of the mean over the images of the batch that have the position; the
    first batch that has it sets it. It gets no gradient, and is saved with the weights.
    """

    def __init__(self, num_positions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_positions))
        self.register_buffer("seen", torch.zeros(num_positions, dtype=torch.bool))
        self.mean: Tensor
        self.seen: Tensor

    def forward(self, score: Float[Tensor, "b n"], positions: Int[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Scores of the tokens that stand at `positions`; no position twice in an image."""
        if not self.training:
            return score
        self._update(score.detach(), positions)
        return 0.5 * (score + self.mean[positions])

    @torch.no_grad()
    def _update(self, score: Float[Tensor, "b n"], positions: Int[Tensor, "b n"]) -> None:
        everywhere = score.new_zeros(score.shape[0], self.mean.shape[0])
        total = everywhere.scatter(1, positions, score).sum(dim=0)
        count = everywhere.scatter(1, positions, torch.ones_like(score)).sum(dim=0)
        newest = total / count.clamp(min=1)
        moved = torch.where(self.seen, MOMENTUM * self.mean + (1 - MOMENTUM) * newest, newest)
        self.mean.copy_(torch.where(count > 0, moved, self.mean))
        self.seen |= count > 0


class SeenAttention(nn.Module):
    """Multi-head softmax attention that gives its weights too."""

    def __init__(self, dim: int, num_heads: int, *, bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b heads n n"]]:
        """Mixed tokens, and for every head and query its weights over the keys."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        mixed, weights = attend(q, k, v)
        return self.proj(rearrange(mixed, "b h n d -> b n (h d)")), weights


def keep_strongest(
    x: Float[Tensor, "b _n d"], score: Float[Tensor, "b _patches"], num_keep: int
) -> tuple[Float[Tensor, "b _kept d"], Int[Tensor, "b _places"]]:
    """CLS and the `num_keep` patch tokens of highest score in their old order, and the slots that these had."""
    slots = score.topk(num_keep, dim=-1).indices.sort(dim=-1).values
    patches = x[:, 1:].gather(1, slots.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    return torch.cat([x[:, :1], patches], dim=1), slots


def token_gate(score: Float[Tensor, "b n"]) -> Float[Tensor, "b _tokens 1"]:
    """Factors of CLS (1) and of the tokens kept (1 on average, larger for a higher score)."""
    strength = score.sigmoid()
    gate = strength / strength.mean(dim=-1, keepdim=True)
    return torch.cat([torch.ones_like(gate[:, :1]), gate], dim=1).unsqueeze(-1)


class CodeStage(nn.Module):
    """Attention alone, without norm, residual or MLP, and the score of the line of tokens, CLS the first of it."""

    def __init__(self, dim: int, num_heads: int, *, num_tokens: int) -> None:
        super().__init__()
        self.attn = SeenAttention(dim, num_heads, bias=False)
        self.smoother = nn.Parameter(torch.ones(3))  # never learned: the score only ranks, and a rank has no gradient
        self.running = RunningScore(1 + num_tokens)
        nn.init.xavier_uniform_(self.attn.qkv.weight)  # torch's nn.MultiheadAttention; `proj` keeps nn.Linear's

    def forward(
        self, x: Float[Tensor, "b n d"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b _heads n n"], Float[Tensor, "b _patches"]]:
        """Mixed tokens, attention weights, and the standardized scores of the patch tokens."""
        x, weights = self.attn(x)
        # The line runs on over the ends of rows and the gaps of earlier prunings, and CLS is its first token.
        score = smooth_line(line_gradient(weights.mean(dim=1)), self.smoother)
        slots = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        return x, weights, standardize(self.running(score, slots))[:, 1:]


class CorrectedStage(nn.Module):
    """A pre-norm transformer block, parameters named as timm's, and the score of the grid of patch tokens."""

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float, num_places: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SeenAttention(dim, num_heads, bias=True)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, mlp_ratio=mlp_ratio)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.smoother = nn.Parameter(torch.full((5,), 0.2))
        self.running = RunningScore(num_places)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        gate: Float[Tensor, "b n 1"],
        places: Int[Tensor, "b _p"],
        grid: tuple[int, int],
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b _heads n n"], Float[Tensor, "b _p"]]:
        """Changed tokens, attention weights, and the standardized scores of the patch tokens.

        Args:
            gate: how much of each normed token the attention sees.
            places: where the patch tokens stand on the grid.
        """
        mixed, weights = self.attn(self.norm1(x) * gate)
        x = x + self.drop_path(mixed)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        neighbors = grid_neighbors(places, grid)
        field = weights.mean(dim=1)[..., 1:]  # every query, CLS too, looks at a field of patches alone
        score = smooth_grid(grid_gradient(field, neighbors), neighbors, self.smoother)
        return x, weights, standardize(self.running(score, places))
