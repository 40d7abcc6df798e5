"""ViT from scratch: a vision transformer with no convolution but the patch embedding, the plain baseline of H-CoAtNet.

Source: the baseline of H-CoAtNet (github.com/Cyrax321/H-CoAtNet-Ichthyosis), rebuilt from its facts; the network is
Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929, as timm's `VisionTransformer`. Weights: none, it is
trained from scratch. Departures: position embeddings interpolate, so that any size the patches allow works. Class token
and positions start at zero and linear layers as torch draws them, as in the baseline; before the last block, tokens
pass as a grid, where explainers read.
Shapes: B batch, C channels, H W pixels, N tokens (the class token and a grid of 14x14 at 224 pixels), D width.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers import to_2tuple
from timm.models import checkpoint_seq
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.attention import attend
from chiron.layers.input_size import require_multiple
from chiron.models.outputs import ModelOutput
from chiron.models.registry import register_model

__all__ = ["ScratchViT"]


class ScratchViT(VisionTransformer):
    """Patches and a class token, pre-norm blocks, layer norm, one linear layer on the class token."""

    cam_layer = "grid"

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        token_drop_rate: float = 0.1,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Builds random weights.

        Args:
            img_size: height and width, pixels, that the position embedding is made for; others are interpolated.
            token_drop_rate: dropout of embedded tokens, of attention weights, and after each linear layer of a block.
            drop_rate: dropout of the vector that the classifier sees.
        Raises:
            ModelError: the size does not fit the patches, or the width the heads.
        """
        height, width = to_2tuple(img_size)
        require_multiple(height, width, patch_size)
        if embed_dim % num_heads:
            raise ModelError(
                f"embed_dim must be a multiple of num_heads. Got {embed_dim} and {num_heads}. Change one of them."
            )
        super().__init__(
            img_size=img_size,
            patch_size=patch_size,
            in_chans=in_chans,
            num_classes=num_classes,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            drop_rate=drop_rate,
            pos_drop_rate=token_drop_rate,
            proj_drop_rate=token_drop_rate,
            attn_drop_rate=token_drop_rate,
            drop_path_rate=drop_path_rate,
            dynamic_img_size=True,
            weight_init="skip",
        )
        nn.init.zeros_(self.cls_token)
        nn.init.zeros_(self.pos_embed)
        self.grid = nn.Identity()

    def embed(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The class token and the patches, with their positions."""
        require_multiple(x.shape[-2], x.shape[-1], self.patch_embed.patch_size[0])
        return self._pos_embed(self.patch_embed(x))

    def see_grid(self, tokens: Float[Tensor, "b n d"], height: int) -> Float[Tensor, "b n d"]:
        """The same tokens, whose patches passed `grid` as a map of `height` rows."""
        grid = self.grid(rearrange(tokens[:, 1:], "b (h w) d -> b d h w", h=height))
        return torch.cat([tokens[:, :1], rearrange(grid, "b d h w -> b (h w) d")], dim=1)

    def run_blocks(self, blocks: nn.Sequential, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens after the blocks; the class token stands first."""
        return checkpoint_seq(blocks, tokens) if self.grad_checkpointing and self.training else blocks(tokens)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Normed tokens after all blocks."""
        tokens = self.run_blocks(self.blocks[:-1], self.embed(x))
        tokens = self.see_grid(tokens, x.shape[-2] // self.patch_embed.patch_size[0])
        return self.norm(self.run_blocks(self.blocks[-1:], tokens))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def forward_named(self, x: Float[Tensor, "b c h w"]) -> ModelOutput:
        """Logits with the attention weights of every block."""
        tokens = self.embed(x)
        attn = []
        for block in self.blocks:
            attn.append(_attention_weights(block, tokens))
            tokens = block(tokens)
        return ModelOutput(self.forward_head(self.norm(tokens)), attn=tuple(attn))

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        blocks = {f"block{i + 1}": (f"blocks.{i}",) for i in range(len(self.blocks))}
        return {"stem": ("patch_embed", "cls_token", "pos_embed"), **blocks, "head": ("norm", "head")}

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool not in (None, "token"):
            raise ModelError(f"global_pool of this family must be 'token'. Got {global_pool!r}. Leave it out.")
        super().reset_classifier(num_classes)


def _attention_weights(block: Block, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b _heads n n"]:
    """What timm's fused attention of this block weighs the tokens by."""
    qkv = block.attn.qkv(block.norm1(tokens))
    q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=block.attn.num_heads)
    return attend(q, k, v)[1]


@register_model(img_size=224, first_conv="patch_embed.proj")
def chiron_vit_scratch(**kwargs: Any) -> ScratchViT:
    """5,525,381 parameters at 5 classes and 224 pixels."""
    return ScratchViT(**kwargs)


@register_model(img_size=96, first_conv="patch_embed.proj")
def chiron_vit_scratch_nano(**kwargs: Any) -> ScratchViT:
    """0.25 million parameters, for tests: 96 pixels give 36 tokens and the class token."""
    return ScratchViT(**{"img_size": 96, "embed_dim": 72, "depth": 3, "num_heads": 3, **kwargs})
