"""Pruning of tokens: a gate that scores them, and keeping those of highest score.

Source: H-CoAtNet (github.com/Cyrax321/H-CoAtNet-Ichthyosis), rebuilt from the facts of its code; the gate is Hu et al.,
Squeeze-and-Excitation Networks, arXiv:1709.01507, over tokens. Departure from the code: tokens are ranked by their
length itself instead of a softmax of it, which has the same order and no rounding ties.
Shapes: B batch, N tokens, D width.
"""

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["HierarchicalSE", "keep_top", "num_kept", "scatter_tokens", "token_importance"]


class HierarchicalSE(nn.Module):
    """Squeeze-excitation over tokens: their mean gates the channels, then a token's length is its score."""

    def __init__(self, dim: int, *, reduction: int = 16, drop_rate: float = 0.05) -> None:
        super().__init__()
        hidden = dim // reduction
        self.gate = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(drop_rate), nn.Linear(hidden, dim), nn.Sigmoid()
        )

    def forward(self, tokens: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """Gated tokens and their L2 norms (at least fp32, for bf16 would make ties)."""
        gate = self.gate(reduce(tokens, "b n d -> b 1 d", "mean"))
        gated = tokens * gate
        exact = gated.to(torch.promote_types(gated.dtype, torch.float32))
        return gated, torch.linalg.vector_norm(exact, dim=-1)


def token_importance(scores: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Softmax over tokens of the standardized scores: larger is stronger, sums to 1, the order is that of `scores`."""
    centered = scores - scores.mean(dim=-1, keepdim=True)
    return (centered / (centered.std(dim=-1, keepdim=True, correction=0) + 1e-6)).softmax(dim=-1)


def num_kept(num_tokens: int, ratio: float) -> int:
    """How many of `num_tokens` a pruning keeps: the share rounded down, and at least one."""
    return max(1, int(num_tokens * ratio))


def keep_top(
    tokens: Float[Tensor, "b n d"], scores: Float[Tensor, "b n"], num_keep: int
) -> tuple[Float[Tensor, "b kept d"], Int[Tensor, "b kept"]]:
    """The `num_keep` tokens of highest score, strongest first, and where they stood. Scores get no gradient."""
    indices = scores.topk(num_keep, dim=-1).indices
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])), indices


def scatter_tokens(
    tokens: Float[Tensor, "b kept d"], indices: Int[Tensor, "b kept"], num_tokens: int
) -> Float[Tensor, "b n d"]:
    """Kept tokens back at the places where they stood, among `num_tokens`; zeros at the others."""
    where = indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return tokens.new_zeros(tokens.shape[0], num_tokens, tokens.shape[-1]).scatter(1, where, tokens)
