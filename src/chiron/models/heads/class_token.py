"""class_token: a small post-norm transformer over the places of the last feature map, with a class token.

Source: Qing (github.com/AIsclepius/AI), rebuilt from its facts; 5,257,217 parameters on 1024 channels at one output.
Weights: none. Departures: the attention weights are each head's, not the mean over the heads; dropout also follows
attention and feed-forward, as in torch's encoder layer.
Shapes: B batch, N places (49 at 224 pixels and stride 32), C width of the backbone, D embed_dim, H heads.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.position_code import sinusoidal_position_code
from chiron.layers.post_norm_block import PostNormBlock
from chiron.models.head import Head

OPTIONS = ("embed_dim", "num_heads", "depth", "ffn_dim", "drop_rate")
MAX_TOKENS = 5000


class ClassTokenHead(Head):
    """Projection, class token, position code, encoder; the class token and the mean of the places give the logits."""

    reads_tokens = True
    position_code: Tensor

    def __init__(
        self,
        width: int,
        num_classes: int,
        *,
        embed_dim: int = 512,
        num_heads: int = 8,
        depth: int = 2,
        ffn_dim: int = 1024,
        drop_rate: float = 0.2,
    ) -> None:
        super().__init__(embed_dim)
        self.projection = nn.Sequential(nn.Linear(width, embed_dim), nn.LayerNorm(embed_dim))
        self.class_token = nn.Parameter(torch.randn(1, 1, embed_dim))
        code = sinusoidal_position_code(MAX_TOKENS, embed_dim).to(torch.get_default_dtype())
        self.register_buffer("position_code", code, persistent=False)
        self.drop = nn.Dropout(drop_rate)
        self.blocks = nn.ModuleList(
            [PostNormBlock(embed_dim, num_heads, ffn_dim=ffn_dim, drop_rate=drop_rate) for _ in range(depth)]
        )
        self.fusion = nn.Sequential(nn.Linear(2 * embed_dim, embed_dim), nn.GELU(), nn.Dropout(drop_rate))
        self.reset_classifier(num_classes)

    def mix(
        self, x: Float[Tensor, "b n c"]
    ) -> tuple[Float[Tensor, "b d"], tuple[Float[Tensor, "b h n_and_1 n_and_1"], ...]]:
        """The fused vector, and each block's attention; place 0 of it is the class token."""
        places = self.projection(x)  # b 49 512
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), places], dim=1)  # b 50 512
        if tokens.shape[1] > MAX_TOKENS:
            raise ModelError(
                f"The position code must reach all tokens, {MAX_TOKENS} at most. Got {tokens.shape[1]}. "
                "Use a smaller img_size."
            )
        tokens = self.drop(tokens + self.position_code[: tokens.shape[1]])
        attn = []
        for block in self.blocks:
            tokens, weights = block(tokens)
            attn.append(weights)
        return self.fusion(torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=-1)), tuple(attn)

    def no_weight_decay(self) -> set[str]:
        """The class token."""
        return {"class_token"}


make_head = ClassTokenHead
