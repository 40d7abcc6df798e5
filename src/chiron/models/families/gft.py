"""GFT: a small vision transformer whose last stages keep the tokens where its attention changes most.

Source: GFT, arXiv:2504.09852, rebuilt from the facts of the baseline in H-CoAtNet
(github.com/Cyrax321/H-CoAtNet-Ichthyosis), which takes ViT-Tiny where the paper has ViT-Base; its blocks from
Dosovitskiy et al., arXiv:2010.11929. Weights: timm's vit_tiny_patch16_224.augreg_in21k_ft_in1k (Apache-2.0) for the
blocks; the GALA stages of `code` have none.
Departures from the code: the running score of training (`layers/gala.py`) is a mean over the batch, one value for each
of the tokens that enter a stage, so that a saved model loads; evaluation never reads it. Tokens are ranked by their
score instead of its softmax, which has the same order and no rounding ties. Position embeddings interpolate; training
takes only the size that the model was made for, which the running scores belong to.
Shapes at 224 pixels: B batch, H W pixels, D width, N patch tokens (14x14 = 196, then 147, 98, 49), one more for CLS.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers import resample_abs_pos_embed, to_2tuple, trunc_normal_
from timm.models import checkpoint_seq
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.gala import CodeStage, CorrectedStage, importance, keep_strongest, token_gate
from chiron.layers.initial import draw_normal
from chiron.layers.input_size import require_multiple
from chiron.layers.token_block import TokenBlock
from chiron.models.outputs import ModelOutput
from chiron.models.registry import Donor, register_model

__all__ = ["CodeGFT", "CorrectedGFT"]

Named = tuple[list[Tensor], list[Tensor], list[Tensor]]  # of each stage: attention, places kept, importance


class GFT(nn.Module, ABC):
    """What both readings share: patches, ViT blocks on all tokens, the stages' loop in `prune`, the head."""

    cam_layer = "last_map"

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 8,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        keep_ratios: tuple[float, ...] = (0.75, 0.5, 0.25),
        drop_rate: float = 0.0,
        drop_path_rates: Sequence[float],
    ) -> None:
        """Builds random weights.

        Args:
            img_size: height and width, pixels, that the position embedding is made for; others are interpolated.
            depth: how many blocks run before the first pruning.
            keep_ratios: share of the grid's tokens left after each pruning.
            drop_path_rates: of the blocks in order; a reading may have more of them than run here.
        Raises:
            ModelError: the size does not fit the patches, or the shares to keep do not fall.
        """
        super().__init__()
        if any(not 0 < b <= a for a, b in zip((1.0, *keep_ratios), keep_ratios, strict=False)):
            raise ModelError(f"keep_ratios must fall within (0, 1]. Got {keep_ratios}. For example (0.75, 0.5, 0.25).")
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = embed_dim
        self.depth = depth
        self.keep_ratios = keep_ratios
        self.grad_checkpointing = False
        self.patch_size = patch_size
        self.token_grid = self._grid(*to_2tuple(img_size))
        self.num_places = self.token_grid[0] * self.token_grid[1]

        self.patch_embed = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.num_places, embed_dim))
        self.blocks = nn.Sequential(
            *[
                TokenBlock(embed_dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias=True, drop_path=rate)
                for rate in drop_path_rates
            ]
        )
        self.last_map = nn.Identity()  # the last whole grid of tokens passes here as a map, for explainers
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes else nn.Identity()
        trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for part in (self.blocks, self.head):  # the patches keep torch's own, as in timm
            part.apply(draw_normal)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        require_multiple(height, width, self.patch_size)
        return height // self.patch_size, width // self.patch_size

    def num_kept(self, grid: tuple[int, int]) -> list[int]:
        """Patch tokens left after each pruning."""
        return [max(1, int(grid[0] * grid[1] * ratio)) for ratio in self.keep_ratios]

    def forward_blocks(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _n d"], tuple[int, int]]:
        """CLS and all patch tokens after the ViT blocks, and the grid of the latter."""
        grid = self._grid(x.shape[-2], x.shape[-1])
        pos_embed = self.pos_embed
        if grid != self.token_grid:
            if self.training:
                made_for, got = ((a * self.patch_size, b * self.patch_size) for a, b in (self.token_grid, grid))
                raise ModelError(
                    f"Images in training must have the size that the model was made for, {made_for[0]} x {made_for[1]} "
                    f"pixels. Got {got[0]} x {got[1]}. Build the model with this img_size."
                )
            pos_embed = resample_abs_pos_embed(pos_embed, list(grid), list(self.token_grid))
        patches = rearrange(self.patch_embed(x), "b d h w -> b (h w) d")
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], dim=1) + pos_embed
        blocks = self.blocks[: self.depth]
        x = checkpoint_seq(blocks, x) if self.grad_checkpointing and self.training else blocks(x)
        maps = self.last_map(rearrange(x[:, 1:], "b (h w) d -> b d h w", h=grid[0]))
        return torch.cat([x[:, :1], rearrange(maps, "b d h w -> b (h w) d")], dim=1), grid

    @abstractmethod
    def prune(self, x: Float[Tensor, "b _n d"], grid: tuple[int, int]) -> tuple[Float[Tensor, "b _kept d"], Named]:
        """Normed tokens left after all stages, CLS first, and what each stage shows; each reading has its own."""

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _kept d"]:
        """The normed tokens that are left after all stages, CLS first."""
        return self.prune(*self.forward_blocks(x))[0]

    def pool(self, tokens: Float[Tensor, "b _kept d"]) -> Float[Tensor, "b d"]:
        """The vector of an image: CLS."""
        return tokens[:, 0]

    def forward_head(
        self, tokens: Float[Tensor, "b _kept d"], pre_logits: bool = False
    ) -> Float[Tensor, "b _features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        x = self.head_drop(self.pool(tokens))
        return x if pre_logits else self.head(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def forward_named(self, x: Float[Tensor, "b c h w"]) -> ModelOutput:
        """Logits with the attention of each stage, the tokens that it kept, and the importance of all before it."""
        tokens, (attn, kept, shares) = self.prune(*self.forward_blocks(x))
        return ModelOutput(self.forward_head(tokens), tuple(attn), tuple(kept), tuple(shares))

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {
            "stem": ("patch_embed", "cls_token", "pos_embed"),
            "blocks": ("blocks",),
            **{f"gala{i + 1}": (f"gala.{i}",) for i in range(len(self.keep_ratios))},
            "head": ("norm", "head"),
        }

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool is not None:
            raise ModelError(f"The pooling of this family is its own. Got global_pool {global_pool!r}. Leave it out.")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.apply(draw_normal).to(device=self.norm.weight.device, dtype=self.norm.weight.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass of the ViT blocks for less memory in training.

        The stages always run once: a second pass would move their running scores twice.
        """
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        return {"pos_embed", "cls_token"} | {f"gala.{i}.smoother" for i in range(len(self.keep_ratios))}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth."""
        return {
            "stem": r"^cls_token|^pos_embed|^patch_embed",
            "blocks": r"^blocks" if coarse else [(r"^blocks\.(\d+)", None)],
            "gala": r"^gala" if coarse else [(r"^gala\.(\d+)", None)],
        }


class CodeGFT(GFT):
    """The `code` reading: a whole ViT of which the first blocks run, then three stages of bare attention.

    The blocks after `depth` and the ImageNet classifier are registered and never used, as in the code. So is the last
    pruning in effect: the logits see CLS, which no later stage mixes with the tokens left.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 192,
        depth: int = 8,
        unused_depth: int = 4,
        num_heads: int = 3,
        base_classes: int = 1000,
        drop_path_rate: float = 0.0,
        **shared: Any,
    ) -> None:
        """Builds random weights; `unused_depth` blocks and a head of `base_classes` are dead weight."""
        rates = spread(drop_path_rate, depth + unused_depth)
        super().__init__(embed_dim=embed_dim, depth=depth, num_heads=num_heads, drop_path_rates=rates, **shared)
        self.base_head = nn.Linear(embed_dim, base_classes).apply(draw_normal)
        entering = [self.num_places, *self.num_kept(self.token_grid)]
        self.gala = nn.ModuleList([CodeStage(embed_dim, num_heads, num_tokens=n) for n in entering[:-1]])

    @property
    def parameters_not_learned(self) -> tuple[str, ...]:
        """Names of the parameters that no gradient reaches: blocks that do not run, the old head, the smoothers."""
        unused = tuple(f"blocks.{i}." for i in range(self.depth, len(self.blocks)))
        dead = [name for name, _ in self.named_parameters() if name.startswith((*unused, "base_head."))]
        return (*dead, *(f"gala.{i}.smoother" for i in range(len(self.gala))))

    def prune(self, x: Float[Tensor, "b _n d"], grid: tuple[int, int]) -> tuple[Float[Tensor, "b _kept d"], Named]:
        """Normed tokens left after all stages, CLS first, and what each stage shows."""
        attn: list[Tensor] = []
        kept: list[Tensor] = []
        shares: list[Tensor] = []
        for stage, num_keep in zip(self.gala, self.num_kept(grid), strict=True):
            x, weights, score = stage(x)
            x, slots = keep_strongest(x, score, num_keep)
            attn.append(weights)
            kept.append(kept[-1].gather(1, slots) if kept else slots)  # always places of the whole grid
            shares.append(importance(score))
        return self.norm(x), (attn, kept, shares)

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """As of the family, with the dead weight in a stage `unused`."""
        stem, _, *later = super().named_stages().items()
        names = [f"blocks.{i}" for i in range(len(self.blocks))]
        unused = ("unused", (*names[self.depth :], "base_head"))
        return dict([stem, ("blocks", tuple(names[: self.depth])), unused, *later])


class CorrectedGFT(GFT):
    """The `corrected` reading: whole transformer blocks as stages, a score of the grid, and importance that is learned.

    A kept token's gate is the sigmoid of its standardized score, divided by the mean of those kept, CLS's is 1. It
    multiplies the normed token wherever that is read next: by the attention of the next stage, or by the last mean.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 192,
        depth: int = 8,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        keep_ratios: tuple[float, ...] = (0.75, 0.5, 0.25),
        drop_path_rate: float = 0.0,
        **shared: Any,
    ) -> None:
        """Builds random weights."""
        rates = spread(drop_path_rate, depth + len(keep_ratios))
        widths: dict[str, Any] = {"embed_dim": embed_dim, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        super().__init__(**widths, depth=depth, keep_ratios=keep_ratios, drop_path_rates=rates[:depth], **shared)
        stages = [
            CorrectedStage(embed_dim, num_heads, mlp_ratio=mlp_ratio, num_places=self.num_places, drop_path=rate)
            for rate in rates[depth:]
        ]
        self.gala = nn.ModuleList(stages).apply(draw_normal)

    def prune(self, x: Float[Tensor, "b _n d"], grid: tuple[int, int]) -> tuple[Float[Tensor, "b _kept d"], Named]:
        """Normed and gated tokens left after all stages, CLS first, and what each stage shows."""
        attn: list[Tensor] = []
        kept: list[Tensor] = []
        shares: list[Tensor] = []
        gate = torch.ones_like(x[..., :1])
        places = torch.arange(x.shape[1] - 1, device=x.device).expand(x.shape[0], -1)
        for stage, num_keep in zip(self.gala, self.num_kept(grid), strict=True):
            x, weights, score = stage(x, gate, places, grid)
            x, slots = keep_strongest(x, score, num_keep)
            places = places.gather(1, slots)
            gate = token_gate(score.gather(1, slots)).to(x.dtype)
            attn.append(weights)
            kept.append(places)
            shares.append(importance(score))
        return self.norm(x) * gate, (attn, kept, shares)

    def pool(self, tokens: Float[Tensor, "b _kept d"]) -> Float[Tensor, "b d"]:
        """The vector of an image: half CLS, half the mean of the patch tokens left, so that their choice counts."""
        return (tokens[:, 0] + tokens[:, 1:].mean(dim=1)) / 2


def spread(rate: float, count: int) -> list[float]:
    """Drop path rates that rise evenly from 0 to `rate`."""
    return [rate * i / max(1, count - 1) for i in range(count)]


def code_name(name: str) -> str | None:
    """The name of ViT-Tiny's tensor in `CodeGFT`, which keeps them all."""
    return name.replace("patch_embed.proj.", "patch_embed.").replace("head.", "base_head.")


def corrected_name(name: str) -> str | None:
    """The name of ViT-Tiny's tensor in `CorrectedGFT`: its blocks 8 to 10 become the stages; block 11 is left out."""
    part, _, rest = name.partition(".")
    number, _, inner = rest.partition(".")
    if part == "blocks" and int(number) >= 8:
        return f"gala.{int(number) - 8}.{inner}" if int(number) < 11 else None
    return None if part == "head" else name.replace("patch_embed.proj.", "patch_embed.")


VIT_TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@register_model(img_size=224, first_conv="patch_embed", donor=Donor(VIT_TINY, code_name))
def chiron_gft(**kwargs: Any) -> CodeGFT:
    """6,160,758 parameters at 5 classes and 224 pixels, 1,972,465 of them without effect."""
    return CodeGFT(**kwargs)


@register_model(img_size=224, first_conv="patch_embed", donor=Donor(VIT_TINY, corrected_name))
def chiron_gft_corrected(**kwargs: Any) -> CorrectedGFT:
    """5,080,532 parameters at 5 classes and 224 pixels."""
    return CorrectedGFT(**kwargs)


NANO = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "num_heads": 3, "mlp_ratio": 2.0}


@register_model(img_size=64, first_conv="patch_embed")
def chiron_gft_nano(**kwargs: Any) -> CodeGFT:
    """For tests and the demo: 64 tokens, then 48, 32 and 16."""
    return CodeGFT(**{**NANO, "depth": 3, "unused_depth": 1, "base_classes": 10, **kwargs})


@register_model(img_size=64, first_conv="patch_embed")
def chiron_gft_corrected_nano(**kwargs: Any) -> CorrectedGFT:
    """For tests and the demo: 64 tokens, then 48, 32 and 16."""
    return CorrectedGFT(**{**NANO, "depth": 3, **kwargs})
