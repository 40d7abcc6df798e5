"""The pre-norm transformer block on tokens that hybrid families share.

Source: Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929, eq. 2-3. Departures: qkv has no bias unless
asked for, and dropout only where asked for (then in the places of torch's `TransformerEncoderLayer`).
Shapes: B batch, N tokens, D width, H heads.
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

from chiron.core.errors import ModelError

__all__ = ["FeedForward", "SelfAttention", "TokenBlock"]


class SelfAttention(nn.Module):
    """Multi-head softmax attention of every token to every token."""

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = False, drop_rate: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ModelError(
                f"The token width must be a multiple of num_heads. Got width {dim} and {num_heads} heads. "
                "Change one of them."
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.attn_drop = nn.Dropout(drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Mixed tokens, before the residual addition."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        drop_rate = self.attn_drop.p if self.attn_drop.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate)
        return self.proj_drop(self.proj(rearrange(mixed, "b h n d -> b n (h d)")))


class FeedForward(nn.Module):
    """Two linear layers with GELU between them, applied to each token alone."""

    def __init__(self, dim: int, *, mlp_ratio: float = 4.0, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, int(dim * mlp_ratio))
        self.fc2 = nn.Linear(int(dim * mlp_ratio), dim)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Changed tokens, before the residual addition."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class TokenBlock(nn.Module):
    """Attention, then feed-forward, each on layer-normed tokens and added to them.

    Parameter names are those of timm's `Block`, so that its weights load.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        drop_rate: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, num_heads, qkv_bias=qkv_bias, drop_rate=drop_rate)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, mlp_ratio=mlp_ratio, drop_rate=drop_rate)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens after both residual steps."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
