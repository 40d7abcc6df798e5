"""Fair CNN: four plain 3x3 convolutions in two stages, the small baseline that a hybrid must beat.

Source: the baseline of H-CoAtNet (github.com/Cyrax321/H-CoAtNet-Ichthyosis), rebuilt from its facts; 242,181 parameters
at 5 classes. Weights: none. Departures: none known.
Shapes: B batch, C channels, H W pixels.
"""

from typing import Any

from einops import reduce
from jaxtyping import Float
from timm.models import checkpoint_seq
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.models.registry import register_model

__all__ = ["FairCNN"]


class ConvBlock(nn.Sequential):
    """3x3 convolution with bias, batch norm, ReLU; the size stays."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__(nn.Conv2d(in_chans, out_chans, kernel_size=3, padding=1), nn.BatchNorm2d(out_chans), nn.ReLU())


class FairCNN(nn.Module):
    """Two stages of two convolutions and a 2x2 max pool, global average, one linear layer."""

    cam_layer = "stages.1"

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        dims: tuple[int, int, int, int] = (32, 64, 128, 128),
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = dims[3]
        self.grad_checkpointing = False
        self.stages = nn.Sequential(
            nn.Sequential(ConvBlock(in_chans, dims[0]), ConvBlock(dims[0], dims[1]), nn.MaxPool2d(2)),
            nn.Sequential(ConvBlock(dims[1], dims[2]), ConvBlock(dims[2], dims[3]), nn.MaxPool2d(2)),
        )
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dims[3], num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h4 w4"]:
        """The last feature map, a quarter of the input's size."""
        if min(x.shape[-2:]) < 4:
            raise ModelError(
                f"The image must have at least 4 pixels a side. Got {tuple(x.shape[-2:])}. Use a larger img_size."
            )
        return checkpoint_seq(self.stages, x) if self.grad_checkpointing and self.training else self.stages(x)

    def forward_head(
        self, x: Float[Tensor, "b d h4 w4"], pre_logits: bool = False
    ) -> Float[Tensor, "b features_or_classes"]:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        x = self.head_drop(reduce(x, "b d h w -> b d", "mean"))
        return x if pre_logits else self.head(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        return self.forward_head(self.forward_features(x))

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage, from the image to the logits; what freezing goes by."""
        return {"stage1": ("stages.0",), "stage2": ("stages.1",), "head": ("head",)}

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new, random classifier in place; 0 classes leave the features."""
        if global_pool not in (None, "avg"):
            raise ModelError(f"global_pool of this family must be 'avg'. Got {global_pool!r}. Leave it out.")
        like = next(self.parameters())
        self.num_classes = num_classes
        self.head = (
            nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)
            if num_classes
            else nn.Identity()
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades a second forward pass for less memory in training."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms: none."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns that order parameters by depth."""
        return {"stages": r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"}


@register_model(img_size=224, first_conv="stages.0.0.0")
def chiron_fair_cnn(**kwargs: Any) -> FairCNN:
    """242,181 parameters at 5 classes."""
    return FairCNN(**kwargs)


@register_model(img_size=96, first_conv="stages.0.0.0")
def chiron_fair_cnn_nano(**kwargs: Any) -> FairCNN:
    """For tests and the demo: 12,042 parameters at 2 classes."""
    return FairCNN(**{"dims": (8, 16, 24, 32), **kwargs})
