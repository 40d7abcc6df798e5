"""ConvNeXtV2-SSA: ConvNeXtV2's first two stages, then two stages of tokens that mix by separable self-attention.

Source: Ozdemir & Pacal, Sci Rep 15:4938 (2025), and github.com/nikita-panacea/ConvNeXtv2-hybrid-classifier, rebuilt
from its facts; convolution blocks from Woo et al., arXiv:2301.00808; attention after Mehta & Rastegari, 2206.02680.
Weights: `init: imagenet` takes stem, stages 1-2 and the three downsampling layers from ConvNeXtV2-Tiny (CC BY-NC 4.0).
Departures: the context is projected after it was summed instead of before, which is the same sum for less work.
Shapes at 224 pixels: B batch, C channels, H W pixels, D width, N tokens (14x14 in stage 3, 7x7 in stage 4).
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from timm.layers import DropPath, LayerNorm, LayerNorm2d
from timm.models import checkpoint
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.layers.initial import draw_normal
from chiron.layers.input_size import require_multiple
from chiron.layers.token_block import FeedForward
from chiron.models.outputs import ModelOutput
from chiron.models.registry import Donor, register_model

__all__ = ["ConvNeXtV2SSA", "ScaledSeparableAttention", "SeparableBlock", "SeparableSelfAttention", "TokenStage"]


class SeparableSelfAttention(nn.Module):
    """One context vector for all tokens, weighted by scores, gates each token's value; linear in the tokens.

    Source: Ozdemir & Pacal 2025, eq. 5-9, with W_I, W_K, W_V, W_O as `score`, `key`, `value`, `proj`; none has a bias.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b 1 n"]]:
        """Mixed tokens, before the residual addition, and the context's weights over the tokens (at least fp32)."""
        scores = context_scores(self.score(x))
        context = self.key(scores.to(x.dtype) @ x)  # b 1 d; equal to summing the keys of all tokens
        return self.proj(context * F.relu(self.value(x))), scores


class ScaledSeparableAttention(nn.Module):
    """The small attention of the repository's other commits: a score, and two scales a channel in place of W_K and W_V.

    It has 3 D parameters and is not eq. 5-9: channels never mix, and there is no projection of the result.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)
        self.key_scale = nn.Parameter(torch.ones(dim))
        self.value_scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b 1 n"]]:
        """Mixed tokens, before the residual addition, and the context's weights over the tokens (at least fp32)."""
        scores = context_scores(self.score(x))
        context = self.key_scale * (scores.to(x.dtype) @ x)
        return context * F.relu(self.value_scale * x), scores


def context_scores(logits: Float[Tensor, "b n 1"]) -> Float[Tensor, "b 1 n"]:
    """Softmax over tokens, in fp32 at least: bf16 has too few digits for thousands of small shares."""
    logits = rearrange(logits, "b n 1 -> b 1 n")
    return logits.softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


class SeparableBlock(nn.Module):
    """Attention, then feed-forward, each on layer-normed tokens and added to them."""

    def __init__(
        self, dim: int, *, attn_layer: Callable[[int], nn.Module], mlp_ratio: float, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attn_layer(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim, mlp_ratio=mlp_ratio)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b 1 n"]]:
        """Tokens after both residual steps, and the context's weights."""
        mixed, scores = self.attn(self.norm1(x))
        x = x + self.drop_path(mixed)
        return x + self.drop_path(self.mlp(self.norm2(x))), scores


class TokenStage(nn.Module):
    """Layer norm and a strided convolution, then blocks on the tokens; names as in timm's ConvNeXtStage."""

    def __init__(
        self,
        in_dim: int,
        dim: int,
        *,
        stride: int,
        drop_path_rates: list[float],
        attn_layer: Callable[[int], nn.Module],
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.downsample = nn.Sequential(LayerNorm2d(in_dim), nn.Conv2d(in_dim, dim, kernel_size=stride, stride=stride))
        self.blocks = nn.ModuleList(
            [SeparableBlock(dim, attn_layer=attn_layer, mlp_ratio=mlp_ratio, drop_path=r) for r in drop_path_rates]
        )

    def forward_scored(
        self, x: Float[Tensor, "b _c _h _w"]
    ) -> tuple[Float[Tensor, "b d gh gw"], list[Float[Tensor, "b 1 n"]]]:
        """The tokens as a map again, and each block's weights of the context."""
        x = self.downsample(x)
        tokens = rearrange(x, "b d gh gw -> b (gh gw) d")
        scores: list[Tensor] = []
        for block in self.blocks:
            saving = self.grad_checkpointing and self.training
            tokens, score = checkpoint(block, tokens) if saving else block(tokens)
            scores.append(score)
        return rearrange(tokens, "b (gh gw) d -> b d gh gw", gh=x.shape[-2]), scores

    def forward(self, x: Float[Tensor, "b _c _h _w"]) -> Float[Tensor, "b d gh gw"]:
        """The tokens as a map again."""
        return self.forward_scored(x)[0]


class ConvNeXtV2SSA(nn.Module):
    """Two stages of ConvNeXtV2 blocks with response normalization, two of separable self-attention, the mean token.

    There is no position embedding: convolutions alone tell where a token stands.
    """

    cam_layer = "stages.3"

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        depths: tuple[int, int, int, int] = (3, 3, 9, 12),
        dims: tuple[int, int, int, int] = (96, 192, 384, 768),
        stage_strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        attn_layer: Callable[[int], nn.Module] = SeparableSelfAttention,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Builds random weights.

        Args:
            attn_layer: makes a block's attention from the width; gives mixed tokens and weights of the context.
            mlp_ratio: hidden width of the token blocks' feed-forward; convolution blocks always have 4.
            drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        """
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = dims[3]
        self.stride = 4 * math.prod(stage_strides)
        rates = iter([drop_path_rate * i / max(1, sum(depths) - 1) for i in range(sum(depths))])  # in order of depth

        def conv_stage(i: int) -> ConvNeXtStage:
            return ConvNeXtStage(
                dims[max(0, i - 1)],
                dims[i],
                stride=stage_strides[i],
                depth=depths[i],
                drop_path_rates=[next(rates) for _ in range(depths[i])],
                ls_init_value=None,
                use_grn=True,
                norm_layer=LayerNorm2d,
                norm_layer_cl=LayerNorm,
            )

        def token_stage(i: int) -> TokenStage:
            return TokenStage(
                dims[i - 1],
                dims[i],
                stride=stage_strides[i],
                drop_path_rates=[next(rates) for _ in range(depths[i])],
                attn_layer=attn_layer,
                mlp_ratio=mlp_ratio,
            )

        self.stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], kernel_size=4, stride=4), LayerNorm2d(dims[0]))
        self.stages = nn.Sequential(conv_stage(0), conv_stage(1), token_stage(2), token_stage(3))
        self.norm = nn.LayerNorm(dims[3], eps=1e-6)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dims[3], num_classes) if num_classes else nn.Identity()
        downsamples = [cast(TokenStage, stage).downsample for stage in self.stages[2:]]
        for part in (self.stem, self.stages[:2], *downsamples, self.head):  # token blocks keep torch's own
            part.apply(draw_normal)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d gh gw"]:
        """The last stage's tokens as a map (7x7 at 224 pixels)."""
        require_multiple(x.shape[-2], x.shape[-1], self.stride)
        return self.stages(self.stem(x))  # b 96 56 56, b 96 56 56, b 192 28 28, b 384 14 14, b 768 7 7

    def forward_head(
        self, maps: Float[Tensor, "b d gh gw"], pre_logits: bool = False
    ) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        x = self.head_drop(self.norm(reduce(maps, "b d gh gw -> b d", "mean")))
        return x if pre_logits else self.head(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def forward_named(self, x: Float[Tensor, "b c h w"]) -> ModelOutput:
        """Logits with every token block's weights: one head, whose only query is the context."""
        require_multiple(x.shape[-2], x.shape[-1], self.stride)
        x = self.stages[1](self.stages[0](self.stem(x)))
        x, scores = cast(TokenStage, self.stages[2]).forward_scored(x)
        x, more = cast(TokenStage, self.stages[3]).forward_scored(x)
        return ModelOutput(self.forward_head(x), attn=tuple(score.unsqueeze(1) for score in (*scores, *more)))

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {"stem": ("stem",), **{f"stage{i + 1}": (f"stages.{i}",) for i in range(4)}, "head": ("norm", "head")}

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool not in (None, "avg"):
            raise ModelError(f"global_pool of this family must be 'avg'. Got {global_pool!r}. Leave it out.")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        draw_normal(self.head)
        self.head.to(device=self.norm.weight.device, dtype=self.norm.weight.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass for less memory in training."""
        for stage in self.stages:
            cast(ConvNeXtStage, stage).grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms: none."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth."""
        fine = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else fine}


def from_convnextv2(name: str) -> str | None:
    """This family's name of a tensor of timm's ConvNeXtV2, whose stages 3-4 give their downsampling layers alone."""
    taken = ("stem.", "stages.0.", "stages.1.", "stages.2.downsample.", "stages.3.downsample.")
    return name if name.startswith(taken) else None


TINY = Donor("convnextv2_tiny.fcmae_ft_in1k", from_convnextv2)
MINIMAL = {"attn_layer": ScaledSeparableAttention, "mlp_ratio": 1.125}
NANO = {"depths": (1, 1, 2, 2), "dims": (16, 32, 64, 128), "stage_strides": (1, 2, 2, 1)}  # 64 pixels give 4x4 tokens


@register_model(img_size=224, first_conv="stem.0", donor=TINY)
def chiron_convnextv2_ssa(**kwargs: Any) -> ConvNeXtV2SSA:
    """95,307,272 parameters at 8 classes: what the README describes. Its "21.92 M" is not the count of this network."""
    return ConvNeXtV2SSA(**kwargs)


@register_model(img_size=224, first_conv="stem.0")
def chiron_convnextv2_ssa_compact(**kwargs: Any) -> ConvNeXtV2SSA:
    """21,932,072 parameters at 8 classes: narrow enough to be near the claim with eq. 5-9 and an MLP ratio of 4."""
    return ConvNeXtV2SSA(**{"dims": (46, 92, 184, 368), **kwargs})


@register_model(img_size=224, first_conv="stem.0", donor=TINY)
def chiron_convnextv2_ssa_minimal(**kwargs: Any) -> ConvNeXtV2SSA:
    """21,752,504 parameters at 8 classes: the repository's other commits, whose attention is not eq. 5-9."""
    return ConvNeXtV2SSA(**{**MINIMAL, **kwargs})


@register_model(img_size=64, first_conv="stem.0")
def chiron_convnextv2_ssa_nano(**kwargs: Any) -> ConvNeXtV2SSA:
    """0.5 million parameters, for tests and the demo: at stride 16, 64 pixels give 16 tokens."""
    return ConvNeXtV2SSA(**{**NANO, **kwargs})


@register_model(img_size=64, first_conv="stem.0")
def chiron_convnextv2_ssa_minimal_nano(**kwargs: Any) -> ConvNeXtV2SSA:
    """0.13 million parameters: the small attention, for tests and the demo."""
    return ConvNeXtV2SSA(**{**NANO, **MINIMAL, **kwargs})
