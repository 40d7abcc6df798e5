"""The post-norm encoder block of the first transformer, with maps that can be seen head by head.

Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.1, with GELU. Parameter names are those
of `torch.nn.TransformerEncoderLayer`, so that its weights load.
Shapes: B batch, N tokens, D width, H heads.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.attention import attend

__all__ = ["HeadwiseAttention", "PostNormBlock"]


class HeadwiseAttention(nn.Module):
    """Multi-head attention of every token to every token that also gives each head's weights."""

    def __init__(self, dim: int, num_heads: int, *, drop_rate: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ModelError(
                f"The token width must be a multiple of num_heads. Got width {dim} and {num_heads} heads. "
                "Change one of them."
            )
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop_rate)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b h n n"]]:
        """Mixed tokens, before the residual addition, and the weights of every head."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        mixed, weights = attend(q, k, v, drop_rate=self.drop.p if self.drop.training else 0.0)
        return self.out_proj(rearrange(mixed, "b h n d -> b n (h d)")), weights


class PostNormBlock(nn.Module):
    """Attention, then feed-forward, each added to its input and layer-normed after it."""

    def __init__(self, dim: int, num_heads: int, *, ffn_dim: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.self_attn = HeadwiseAttention(dim, num_heads, drop_rate=drop_rate)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b h n n"]]:
        """Tokens after both residual steps, and the attention's weights."""
        mixed, weights = self.self_attn(x)
        x = self.norm1(x + self.drop(mixed))
        changed = self.linear2(self.drop(F.gelu(self.linear1(x))))
        return self.norm2(x + self.drop(changed)), weights
