"""H-CoAtNet, corrected: pruned before the last stage, so that it saves compute, and by scores that learn.

Source: h_coatnet.py, whose two flaws it mends: tokens are dropped there after all the work is done, and their scores
do no more than choose. Here transformer blocks on the kept tokens stand for stage 4, on the grid of stage 3: score,
keep 75 %, 2 blocks, score, keep 50 %, 6 blocks. What is kept is multiplied by its score over the mean score of the
kept, a factor of mean 1, so that scores get a gradient. Tokens carry learned positions, for the blocks alone would not
know where they stood. Weights: those of `h_coatnet` for stem and stages 1-3; the rest is drawn.
Shapes at 224 pixels: B batch, D width, N tokens (14x14 = 196, then 147, then 98).
"""

import math
from typing import Any, cast

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from timm.layers import to_2tuple
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.initial import draw_normal
from chiron.layers.token_block import TokenBlock
from chiron.layers.token_pruning import keep_top, num_kept, scatter_tokens
from chiron.models.families.h_coatnet import CONVNEXT_TINY, HCoAtNet, positions_at, without_convnext_head
from chiron.models.registry import Donor, register_model

__all__ = ["HCoAtNetCorrected"]


class HCoAtNetCorrected(HCoAtNet):
    """Stages 1-2, tokens, stage 3, then twice: score, keep the strongest, transformer blocks on those."""

    cam_layer = "grid"

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 224,
        depths: tuple[int, ...] = (3, 3, 9),
        dims: tuple[int, ...] = (96, 192, 384),
        stage_strides: tuple[int, ...] = (1, 2, 2),
        token_depth: int = 2,
        pruned_depths: tuple[int, ...] = (2, 6),
        keep_ratios: tuple[float, ...] = (0.75, 0.5),
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Builds random weights.

        Args:
            pruned_depths: transformer blocks after each pruning.
            keep_ratios: share of the last grid's tokens left after each pruning.
            kwargs: the other numbers of `HCoAtNet`.
        Raises:
            ModelError: as `HCoAtNet`, or the numbers of prunings differ.
        """
        if not keep_ratios or len(pruned_depths) != len(keep_ratios):
            raise ModelError(
                f"pruned_depths and keep_ratios must have one number a pruning. Got {pruned_depths} and {keep_ratios}. "
                "Give both the same length, at least 1."
            )
        num_before = sum(depths) + token_depth
        num_blocks = num_before + sum(pruned_depths)
        rates = [drop_path_rate * i / max(1, num_blocks - 1) for i in range(num_blocks)]  # in order of depth
        super().__init__(
            img_size=img_size,
            depths=depths,
            dims=dims,
            stage_strides=stage_strides,
            token_depth=token_depth,
            keep_ratios=keep_ratios,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            drop_path_rate=rates[num_before - 1],
            **kwargs,
        )
        self.pruned_grid = tuple(side // self.stride for side in to_2tuple(img_size))
        self.pruned_pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.pruned_grid), dims[-1]))
        late = iter(rates[num_before:])
        self.pruned_blocks = nn.ModuleList(
            [
                nn.Sequential(
                    *[TokenBlock(dims[-1], num_heads, mlp_ratio=mlp_ratio, drop_path=next(late)) for _ in range(depth)]
                )
                for depth in pruned_depths
            ]
        )
        self.pruned_blocks.apply(draw_normal)
        self.grid = nn.Identity()  # the map of the kept tokens, where explainers read

    def prune(
        self, maps: Float[Tensor, "b d gh gw"]
    ) -> tuple[Float[Tensor, "b d gh gw"], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The map of the tokens that are left, and for each pruning the places kept and the scores it ranked by."""
        height, width = maps.shape[-2:]
        tokens = rearrange(maps, "b d h w -> b (h w) d")
        tokens = tokens + positions_at(self.pruned_pos_embed, (height, width), self.pruned_grid)
        kept: list[Tensor] = []
        scores: list[Tensor] = []
        for gate, blocks, ratio in zip(self.gates, self.pruned_blocks, self.keep_ratios, strict=True):
            tokens, score = gate(tokens)
            tokens, indices = keep_top(tokens, score, num_kept(height * width, ratio))
            strength = score.gather(1, indices)
            strength = strength / strength.mean(dim=-1, keepdim=True).clamp_min(1e-6)  # the way back to the scores
            tokens = self._run_blocks(cast(nn.Sequential, blocks), tokens * strength.unsqueeze(-1).to(tokens.dtype))
            kept.append(kept[-1].gather(1, indices) if kept else indices)  # always indices into the whole grid
            scores.append(score)
        grid = rearrange(scatter_tokens(tokens, kept[-1], height * width), "b (h w) d -> b d h w", h=height)
        return self.grid(grid), tuple(kept), tuple(scores)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d gh gw"]:
        """The tokens that are left where they stood, zeros elsewhere."""
        return self.prune(self.forward_maps(x))[0]

    def forward_head(
        self, grid: Float[Tensor, "b d gh gw"], pre_logits: bool = False
    ) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        mean = reduce(grid, "b d h w -> b d", "sum") / num_kept(grid.shape[-2] * grid.shape[-1], self.keep_ratios[-1])
        x = self.head_drop(self.norm(mean))
        return x if pre_logits else self.head(x)

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {
            "stem": ("stem",),
            "stage1": ("stages.0",),
            "stage2": ("stages.1",),
            "tokens": ("pos_embed", "token_blocks"),
            "stage3": ("stages.2",),
            "pruning": ("pruned_pos_embed", "gates", "pruned_blocks"),
            "head": ("norm", "head"),
        }

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        return {"pos_embed", "pruned_pos_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth: a gate goes before the blocks that follow it."""
        fine = [(r"^gates\.(\d+)", None), (r"^pruned_blocks\.(\d+)\.(\d+)", None)]
        groups = super().group_matcher(coarse)
        del groups["gates"]
        positions = r"^pruned_pos_embed"
        return {**groups, "pruning": rf"{positions}|^gates|^pruned_blocks" if coarse else [(positions, (-1,)), *fine]}


def without_stage_4(name: str) -> str | None:
    """The own name of a tensor of timm's ConvNeXt: the same; stage 4, final norm and classifier are left out."""
    return None if name.startswith("stages.3.") else without_convnext_head(name)


@register_model(img_size=224, first_conv="stem.0", donor=Donor(CONVNEXT_TINY, without_stage_4))
def chiron_h_coatnet_corrected(**kwargs: Any) -> HCoAtNetCorrected:
    """27,689,237 parameters at 5 classes and 224 pixels."""
    return HCoAtNetCorrected(**kwargs)


@register_model(img_size=96, first_conv="stem.0")
def chiron_h_coatnet_corrected_nano(**kwargs: Any) -> HCoAtNetCorrected:
    """0.6 million parameters, for tests: at stride 16, 96 pixels give 36 tokens, 27 and then 18 kept."""
    numbers = {"img_size": 96, "depths": (1, 1, 2), "dims": (24, 48, 96), "pruned_depths": (1, 2)}
    return HCoAtNetCorrected(**{**numbers, "num_heads": 3, "ls_init_value": 0.1, **kwargs})
