"""HybridLungViT: a DeiT whose feature map is parted at the lungs; a learned query reads the tokens of both sides.

Source: HybridLungViT, known from its README alone; stem from Touvron et al., DeiT, arXiv:2012.12877. Weights: the
stem's from timm (`donor`), the rest is drawn. What the README leaves open is ours: width 256, 4 heads, 4x4 tokens a
side, two pre-norm layers, one encoder for both sides and one for the whole map.
Departures: the image is parted at the grid of the features (56x56 at 224 pixels) and not of the pixels, which holds the
same and needs a sixteenth of the memory. Scaling 14x14 up to 56x56 adds no information; it is kept, as the README has
it, for the smoother edge at the cut. Bins of the pooling share columns that the cut or their borders divide, exactly.
Shapes at 224 pixels: B batch, E width of the stem (768), D width of the tokens (256), T tokens a side (16).
"""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from timm.layers import to_2tuple, trunc_normal_
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.attention import attend
from chiron.layers.initial import draw_normal
from chiron.layers.input_size import require_multiple
from chiron.layers.side_pooling import cut_of_mask, pool_between
from chiron.layers.token_block import FeedForward, TokenBlock
from chiron.models.outputs import ModelOutput
from chiron.models.registry import Donor, register_model

__all__ = [
    "CrossAttentionFusion",
    "HybridLungViT",
    "SegHead",
    "SimpleTransformerEncoder",
]

PATCH = 16
UPSCALE = 4  # from the stem's grid to that of the features


class SimpleTransformerEncoder(nn.Module):
    """Pre-norm layers on the tokens of one region, which begin with their learned places."""

    def __init__(self, dim: int, *, num_tokens: int, depth: int, num_heads: int, drop_rate: float) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, num_tokens, dim))
        self.blocks = nn.Sequential(
            *[TokenBlock(dim, num_heads, qkv_bias=True, drop_rate=drop_rate) for _ in range(depth)]
        )
        self.grad_checkpointing = False

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Tokens that know of each other."""
        tokens = tokens + self.pos_embed
        if self.grad_checkpointing and self.training:
            return checkpoint_seq(self.blocks, tokens)
        return self.blocks(tokens)


class CrossAttentionFusion(nn.Module):
    """One learned query reads all tokens: residual cross-attention, layer norm, residual feed-forward."""

    def __init__(self, dim: int, *, num_heads: int, drop_rate: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attn_drop = nn.Dropout(drop_rate)
        self.proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, drop_rate=drop_rate)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b heads 1 n"]]:
        """The query after it has read, and its weights over the tokens."""
        query = repeat(self.cls_token, "1 1 d -> b 1 d", b=tokens.shape[0])
        q = rearrange(self.q(query), "b n (h d) -> b h n d", h=self.num_heads)
        k, v = rearrange(self.kv(tokens), "b n (two h d) -> two b h n d", two=2, h=self.num_heads)
        mixed, weights = attend(q, k, v, drop_rate=self.attn_drop.p if self.attn_drop.training else 0.0)
        x = self.norm(query + self.proj(rearrange(mixed, "b h n d -> b n (h d)")))
        x = x + self.mlp(x)
        return x.squeeze(1), weights


class SegHead(nn.Module):
    """The mask as the features tell it: two convolutions to one channel, scaled up to the size of the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim // 4, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(dim // 4, 1, kernel_size=1)

    def forward(self, maps: Float[Tensor, "b d gh gw"], height: int, width: int) -> Float[Tensor, "b 1 _h _w"]:
        """Logits of the mask, a pixel of the input each."""
        logits = self.conv2(nn.functional.gelu(self.conv1(maps)))
        return nn.functional.interpolate(logits, size=(height, width), mode="bilinear")


class HybridLungViT(nn.Module):
    """Stem, projection, tokens of both sides (and of the whole map), fusion, classifier; a head for the mask beside.

    Sides are those of the image: the patient's right lung lies on the image left, unless the image is mirrored.
    """

    input_names = ("image", "mask")
    cam_layer = "projection"

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        stem_dim: int = 768,
        stem_depth: int = 12,
        stem_heads: int = 12,
        embed_dim: int = 256,
        num_heads: int = 4,
        encoder_depth: int = 2,
        token_grid: int = 4,
        fuse_global: bool = False,
        drop_rate: float = 0.1,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Builds random weights.

        Args:
            img_size: height and width, pixels, that the stem's position embedding is made for; others are interpolated.
            token_grid: each side, and the whole map, is pooled to so many rows and columns of tokens.
            fuse_global: the fusion reads the tokens of the whole map too. As documented it does not, so that their
                encoder learns nothing; true mends that.
            drop_rate: of the encoders and the fusion.
            drop_path_rate: of the stem's blocks, rising with depth.
        Raises:
            ModelError: a side is no multiple of the patch.
        """
        super().__init__()
        height, width = to_2tuple(img_size)
        require_multiple(height, width, PATCH)
        self.num_classes, self.in_chans, self.token_grid = num_classes, in_chans, token_grid
        self.num_features = self.head_hidden_size = embed_dim
        self.fuse_global, self.learns_mask = fuse_global, False
        self.stem = VisionTransformer(
            img_size=img_size,
            patch_size=PATCH,
            in_chans=in_chans,
            num_classes=0,
            embed_dim=stem_dim,
            depth=stem_depth,
            num_heads=stem_heads,
            drop_path_rate=drop_path_rate,
            dynamic_img_size=True,
        )
        self.projection = nn.Conv2d(stem_dim, embed_dim, kernel_size=1)

        def encoder() -> SimpleTransformerEncoder:
            return SimpleTransformerEncoder(
                embed_dim, num_tokens=token_grid**2, depth=encoder_depth, num_heads=num_heads, drop_rate=drop_rate
            )

        self.side_embed = nn.Parameter(torch.zeros(2, 1, embed_dim))  # image left, image right
        self.side_encoder = encoder()
        self.global_encoder = encoder()
        self.fusion = CrossAttentionFusion(embed_dim, num_heads=num_heads, drop_rate=drop_rate)
        self.seg_head = SegHead(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes else nn.Identity()
        for part in (self.projection, self.side_encoder, self.global_encoder, self.fusion, self.seg_head, self.head):
            part.apply(draw_normal)  # the stem has drawn its own
        for embedding in (
            self.side_embed,
            self.side_encoder.pos_embed,
            self.global_encoder.pos_embed,
            self.fusion.cls_token,
        ):
            trunc_normal_(embedding, std=0.02)

    @property
    def parameters_not_learned(self) -> set[str]:
        """What no loss reaches: the mask's head where it has no loss of its own and, as documented, the encoder of the
        whole map."""
        learned = {"seg_head.": self.learns_mask, "global_encoder.": self.fuse_global}
        idle = tuple(prefix for prefix, is_learned in learned.items() if not is_learned)
        return {name for name, _ in self.named_parameters() if name.startswith(idle)}

    def set_mask_learning(self, enable: bool = True) -> None:
        """Says whether a loss on `mask_logits` is part of the training, so that the mask's head is learned."""
        self.learns_mask = enable

    def forward_maps(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d gh gw"]:
        """The feature map that all heads share: 56x56 at 224 pixels, four times the grid of the patches."""
        height, width = image.shape[-2:]
        require_multiple(height, width, PATCH)
        tokens = self.stem.forward_features(image)[:, self.stem.num_prefix_tokens :]  # b 196 E
        patches = rearrange(tokens, "b (h w) e -> b e h w", h=height // PATCH)  # b E 14 14
        return nn.functional.interpolate(self.projection(patches), scale_factor=UPSCALE, mode="bilinear")

    def side_tokens(
        self, maps: Float[Tensor, "b d gh gw"], mask: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t d"]]:
        """Tokens of the image's left and right before their encoder, parted where each image's own mask says."""
        cut = cut_of_mask(mask)
        left = pool_between(maps, torch.zeros_like(cut), cut, self.token_grid)
        right = pool_between(maps, cut, torch.ones_like(cut), self.token_grid)
        return left, right

    def mask_coverage(self, mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
        """The share of each token's place that the mask covers, in the order of `forward_features`."""
        groups = list(self.side_tokens(mask, mask))
        if self.fuse_global:
            groups.append(self._whole_tokens(mask))
        return torch.cat(groups, dim=1).squeeze(2)

    def _whole_tokens(self, maps: Float[Tensor, "b d gh gw"]) -> Float[Tensor, "b t d"]:
        start = maps.new_zeros(maps.shape[0], dtype=torch.promote_types(maps.dtype, torch.float32))
        return pool_between(maps, start, start + 1, self.token_grid)

    def _tokens(self, maps: Float[Tensor, "b d gh gw"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n d"]:
        left, right = self.side_tokens(maps, mask)
        groups = [self.side_encoder(left + self.side_embed[0]), self.side_encoder(right + self.side_embed[1])]
        if self.fuse_global:  # else nothing would read them, so that they are not computed
            groups.append(self.global_encoder(self._whole_tokens(maps)))
        return torch.cat(groups, dim=1)

    def forward_features(
        self, image: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b n d"]:
        """The tokens that the fusion reads: image left, image right and, with `fuse_global`, the whole map."""
        self._check_mask(image, mask)
        return self._tokens(self.forward_maps(image), mask)

    def _check_mask(self, image: Tensor, mask: Tensor) -> None:
        if mask.shape[-2:] != image.shape[-2:]:
            raise ModelError(
                f"The mask must have the image's size. Got {tuple(mask.shape[-2:])} for an image of "
                f"{tuple(image.shape[-2:])}. Make both of the same file."
            )

    def forward_head(
        self, tokens: Float[Tensor, "b n d"], pre_logits: bool = False
    ) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        x, _ = self.fusion(tokens)
        return x if pre_logits else self.head(x)

    def forward(self, image: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b classes"]:
        """Logits; the mask is 0 or 1 a pixel of the image."""
        return self.forward_head(self.forward_features(image, mask))

    def forward_named(self, image: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> ModelOutput:
        """Logits, the query's weights over the tokens, and what the features say of the mask."""
        self._check_mask(image, mask)
        maps = self.forward_maps(image)
        x, weights = self.fusion(self._tokens(maps, mask))
        return ModelOutput(
            self.head(x), attn=(weights,), mask_logits=self.seg_head(maps, image.shape[-2], image.shape[-1])
        )

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {
            "stem": ("stem",),
            "projection": ("projection",),
            "encoders": ("side_embed", "side_encoder", "global_encoder"),
            "seg_head": ("seg_head",),
            "fusion": ("fusion",),
            "head": ("head",),
        }

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool not in (None, "token"):
            raise ModelError(f"global_pool of this family must be 'token'. Got {global_pool!r}. Leave it out.")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        norm = self.fusion.norm.weight
        self.head.apply(draw_normal).to(device=norm.device, dtype=norm.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass for less memory in training."""
        self.stem.set_grad_checkpointing(enable)
        self.side_encoder.grad_checkpointing = self.global_encoder.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        own = {"side_embed", "side_encoder.pos_embed", "global_encoder.pos_embed", "fusion.cls_token"}
        return own | {"stem.pos_embed", "stem.cls_token"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth."""
        fine = [(r"^stem\.blocks\.(\d+)", None), (r"^stem\.norm", (99999,))]  # the norm after the last block
        return {
            "embeddings": r"^stem\.cls_token|^stem\.pos_embed|^stem\.patch_embed",
            "blocks": r"^stem\.blocks|^stem\.norm" if coarse else fine,
            "projection": r"^projection|^seg_head",
            "encoders": r"^side_|^global_",
            "fusion": r"^fusion",
        }


def into_stem(name: str) -> str | None:
    """Where a DeiT's tensor lies in the hybrid; its classifier is left out."""
    return None if name.startswith("head.") else f"stem.{name}"


@register_model(
    img_size=224, first_conv="stem.patch_embed.proj", donor=Donor("deit_base_patch16_224.fb_in1k", into_stem)
)
def chiron_hybrid_lung_vit(**kwargs: Any) -> HybridLungViT:
    """90,100,867 parameters at 2 classes and 224 pixels, of them 85,798,656 in DeiT-Base."""
    return HybridLungViT(**kwargs)


@register_model(
    img_size=224, first_conv="stem.patch_embed.proj", donor=Donor("deit_tiny_patch16_224.fb_in1k", into_stem)
)
def chiron_hybrid_lung_vit_tiny(**kwargs: Any) -> HybridLungViT:
    """9,679,171 parameters at 2 classes and 224 pixels, of them 5,524,416 in DeiT-Tiny."""
    return HybridLungViT(**{"stem_dim": 192, "stem_heads": 3, **kwargs})


@register_model(img_size=64, first_conv="stem.patch_embed.proj")
def chiron_hybrid_lung_vit_nano(**kwargs: Any) -> HybridLungViT:
    """137,539 parameters, for tests and the demo: 16 patches of 64 pixels, 4x4 tokens a side."""
    numbers = {"img_size": 64, "stem_dim": 48, "stem_depth": 2, "stem_heads": 3, "embed_dim": 32, "encoder_depth": 1}
    return HybridLungViT(**{**numbers, **kwargs})
