"""H-CoAtNet: a ConvNeXt with two transformer blocks in its middle and a head that keeps only the strongest tokens.

Source: H-CoAtNet (github.com/Cyrax321/H-CoAtNet-Ichthyosis), rebuilt from the facts of its code, class "CoAtGFT";
convolution blocks from Liu et al., A ConvNet for the 2020s, arXiv:2201.03545. Weights: the set that timm gives for
convnext_tiny (in12k_ft_in1k, Apache-2.0) for stem and stages, as the code takes it. Departures from the code: position
embeddings interpolate, so that any size the stride allows works; tokens are ranked by their length itself
(layers/token_pruning.py). As in the code, pruning comes after the last stage: it saves next to nothing and its scores
learn nothing; `h_coatnet_corrected` mends that.
Shapes at 224 pixels: B batch, C channels, H W pixels, D width, N tokens (28x28 in the middle, 7x7 at the end).
"""

import math
from typing import Any, cast

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from timm.layers import LayerNorm, LayerNorm2d, resample_abs_pos_embed, to_2tuple
from timm.models import checkpoint_seq
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.initial import draw_normal
from chiron.layers.input_size import require_multiple
from chiron.layers.token_block import TokenBlock
from chiron.layers.token_pruning import HierarchicalSE, keep_top, num_kept, token_importance
from chiron.models.outputs import ModelOutput
from chiron.models.registry import Donor, register_model

__all__ = ["CONVNEXT_TINY", "HCoAtNet", "positions_at", "without_convnext_head"]

CONVNEXT_TINY = "convnext_tiny.in12k_ft_in1k"


class HCoAtNet(nn.Module):
    """The `code` reading: stages 1-2, tokens, stages 3-4, then two gated prunings before the mean."""

    cam_layer = "stages.2"  # the last map whose every place counts: after stage 4, some are dropped

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        depths: tuple[int, ...] = (3, 3, 9, 3),
        dims: tuple[int, ...] = (96, 192, 384, 768),
        stage_strides: tuple[int, ...] = (1, 2, 2, 2),
        stage1_passes: int = 3,
        token_depth: int = 2,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        keep_ratios: tuple[float, ...] = (0.75, 0.5),
        se_reduction: int = 16,
        se_drop_rate: float = 0.05,
        ls_init_value: float = 1e-6,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Builds random weights.

        Args:
            img_size: height and width, pixels, that the position embedding is made for; others are interpolated.
            stage1_passes: how often stage 1 is applied, always with the same weights.
            keep_ratios: share of the last grid's tokens left after each pruning.
            ls_init_value: first value of ConvNeXt's layer scale.
        Raises:
            ModelError: the size does not fit the stride, or the shares to keep do not fall.
        """
        super().__init__()
        if any(not 0 < b <= a for a, b in zip((1.0, *keep_ratios), keep_ratios, strict=False)):
            raise ModelError(f"keep_ratios must fall within (0, 1]. Got {keep_ratios}. For example (0.75, 0.5).")
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = dims[-1]
        self.stage1_passes = stage1_passes
        self.keep_ratios = keep_ratios
        self.grad_checkpointing = False
        self.stride = 4 * math.prod(stage_strides)
        height, width = to_2tuple(img_size)
        require_multiple(height, width, self.stride)
        token_stride = 4 * math.prod(stage_strides[:2])
        self.token_grid = tuple(side // token_stride for side in to_2tuple(img_size))

        num_blocks = sum(depths) + token_depth
        rates = iter([drop_path_rate * i / max(1, num_blocks - 1) for i in range(num_blocks)])  # in order of depth

        def stage(i: int) -> ConvNeXtStage:
            return ConvNeXtStage(
                dims[max(0, i - 1)],
                dims[i],
                stride=stage_strides[i],
                depth=depths[i],
                drop_path_rates=[next(rates) for _ in range(depths[i])],
                ls_init_value=ls_init_value,
                norm_layer=LayerNorm2d,
                norm_layer_cl=LayerNorm,
            )

        self.stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], kernel_size=4, stride=4), LayerNorm2d(dims[0]))
        first_half = [stage(0), stage(1)]
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.token_grid), dims[1]))
        self.token_blocks = nn.Sequential(
            *[TokenBlock(dims[1], num_heads, mlp_ratio=mlp_ratio, drop_path=next(rates)) for _ in range(token_depth)]
        )
        self.stages = nn.Sequential(*first_half, *[stage(i) for i in range(2, len(depths))])
        self.gates = nn.ModuleList(
            [HierarchicalSE(dims[-1], reduction=se_reduction, drop_rate=se_drop_rate) for _ in keep_ratios]
        )
        self.norm = nn.LayerNorm(dims[-1])
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dims[-1], num_classes) if num_classes else nn.Identity()
        self.apply(draw_normal)

    def forward_maps(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d gh gw"]:
        """The last feature map (7x7 at 224 pixels), before any token is dropped."""
        require_multiple(x.shape[-2], x.shape[-1], self.stride)
        x = self.stem(x)  # b 96 56 56
        for _ in range(self.stage1_passes):
            x = self.stages[0](x)
        x = self.stages[1](x)  # b 192 28 28
        x = self._mix_tokens(x)
        for stage in self.stages[2:]:
            x = stage(x)
        return x  # b 768 7 7

    def _mix_tokens(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        height, width = x.shape[-2:]
        tokens = rearrange(x, "b d h w -> b (h w) d") + positions_at(self.pos_embed, (height, width), self.token_grid)
        tokens = self._run_blocks(self.token_blocks, tokens)
        return rearrange(tokens, "b (h w) d -> b d h w", h=height)

    def _run_blocks(self, blocks: nn.Sequential, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return checkpoint_seq(blocks, tokens) if self.grad_checkpointing and self.training else blocks(tokens)

    def prune(
        self, maps: Float[Tensor, "b d gh gw"]
    ) -> tuple[Float[Tensor, "b kept d"], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Tokens left after all prunings, and for each pruning the grid indices kept and the scores it ranked by."""
        tokens = rearrange(maps, "b d gh gw -> b (gh gw) d")
        num_tokens = tokens.shape[1]
        kept: list[Tensor] = []
        scores: list[Tensor] = []
        for gate, ratio in zip(self.gates, self.keep_ratios, strict=True):
            tokens, score = gate(tokens)
            tokens, indices = keep_top(tokens, score, num_kept(num_tokens, ratio))
            kept.append(kept[-1].gather(1, indices) if kept else indices)  # always indices into the whole grid
            scores.append(score)
        return tokens, tuple(kept), tuple(scores)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b kept d"]:
        """The tokens that are left after all prunings."""
        return self.prune(self.forward_maps(x))[0]

    def forward_head(
        self, tokens: Float[Tensor, "b kept d"], pre_logits: bool = False
    ) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        x = self.head_drop(self.norm(reduce(tokens, "b n d -> b d", "mean")))
        return x if pre_logits else self.head(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def forward_named(self, x: Float[Tensor, "b c h w"]) -> ModelOutput:
        """Logits with the tokens that each pruning kept, strongest first, and the importance of all before it."""
        features, kept, scores = self.prune(self.forward_maps(x))
        return ModelOutput(
            self.forward_head(features),
            kept_tokens=kept,
            token_scores=tuple(token_importance(score) for score in scores),
        )

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {
            "stem": ("stem",),
            "stage1": ("stages.0",),
            "stage2": ("stages.1",),
            "tokens": ("pos_embed", "token_blocks"),
            "stage3": ("stages.2",),
            "stage4": ("stages.3",),
            "pruning": ("gates",),
            "head": ("norm", "head"),
        }

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool not in (None, "avg"):
            raise ModelError(f"global_pool of this family must be 'avg'. Got {global_pool!r}. Leave it out.")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head.apply(draw_normal).to(device=self.norm.weight.device, dtype=self.norm.weight.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass for less memory in training."""
        self.grad_checkpointing = enable
        for stage in self.stages:
            cast(ConvNeXtStage, stage).grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        return {"pos_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth."""

        def conv(stages: str) -> Any:
            fine = [(rf"^stages\.({stages})\.downsample", (0,)), (rf"^stages\.({stages})\.blocks\.(\d+)", None)]
            return rf"^stages\.({stages})" if coarse else fine

        tokens = r"^pos_embed|^token_blocks" if coarse else [(r"^pos_embed", (0,)), (r"^token_blocks\.(\d+)", None)]
        return {"stem": r"^stem", "early": conv("0|1"), "tokens": tokens, "late": conv("2|3"), "gates": r"^gates"}


def positions_at(
    pos_embed: Float[Tensor, "1 _n d"], grid: tuple[int, int], made_for: tuple[int, ...]
) -> Float[Tensor, "1 _m d"]:
    """Position embeddings of a grid, interpolated from those of the grid that they were made for."""
    if grid == made_for:
        return pos_embed
    return resample_abs_pos_embed(pos_embed, list(grid), list(made_for), num_prefix_tokens=0)


def without_convnext_head(name: str) -> str | None:
    """The own name of a tensor of timm's ConvNeXt: the same, but its final norm and classifier are left out."""
    return None if name.startswith("head.") else name


@register_model(img_size=224, first_conv="stem.0", donor=Donor(CONVNEXT_TINY, without_convnext_head))
def chiron_h_coatnet(**kwargs: Any) -> HCoAtNet:
    """29,012,165 parameters at 5 classes and 224 pixels."""
    return HCoAtNet(**kwargs)


@register_model(img_size=96, first_conv="stem.0")
def chiron_h_coatnet_nano(**kwargs: Any) -> HCoAtNet:
    """0.6 million parameters, for tests and the demo: at stride 16, 96 pixels give 36 tokens, 27 and then 18 kept."""
    numbers = {"img_size": 96, "depths": (1, 1, 2, 1), "dims": (24, 48, 96, 192), "stage_strides": (1, 2, 2, 1)}
    return HCoAtNet(**{**numbers, "num_heads": 3, "ls_init_value": 0.1, **kwargs})
