"""DenseNet-Transformer: a DenseNet-121 whose last map goes through a small transformer with a class token.

Source: Qing (github.com/AIsclepius/AI), rebuilt from its facts; DenseNet from Huang et al., arXiv:1608.06993.
Weights: torchvision's ImageNet weights, as timm has them (Apache-2.0), fit the backbone.
Departures: those of the head (`heads/class_token.py`); any number of classes.
Shapes at 224 pixels: B batch, C channels, H W pixels; conv0 64x112x112, pool0 64x56x56, denseblock1 256x56x56,
denseblock2 512x28x28, denseblock3 1024x14x14, norm5 1024x7x7, then 49 tokens and the class token of width 512.
"""

from typing import Any

import timm
from timm.models.densenet import DenseNet
from torch import nn

from chiron.models.headed import HeadedModel, make_head
from chiron.models.registry import Donor, register_model

__all__ = ["DenseNetTransformer"]


class DenseNetTransformer(HeadedModel):
    """The documented reading; `imagenet_classifier` makes it the code's."""

    def __init__(
        self,
        backbone: DenseNet,
        *,
        num_classes: int,
        imagenet_classifier: bool = False,
        drop_rate: float = 0.2,
        **head_args: Any,
    ) -> None:
        """Takes the backbone over.

        Args:
            imagenet_classifier: keeps the backbone's 1000-class layer, which nothing reads.
            drop_rate: everywhere in the head.
            head_args: further ones of the head `class_token`.
        """
        # torchvision's `features` end with this batch norm; the ReLU that its own forward has after it is not applied.
        backbone.features.norm5.act = nn.Identity()
        unused = backbone.get_classifier()
        head_args = {"drop_rate": drop_rate, **head_args}
        head = make_head("class_token", head_args, width=backbone.num_features, num_classes=num_classes)
        super().__init__(backbone, head, cam_layer="features.norm5")
        self.imagenet_classifier = unused if imagenet_classifier else None

    @property
    def parameters_not_learned(self) -> tuple[str, ...]:
        """Parameters whose gradient is always 0."""
        unused = () if self.imagenet_classifier is None else ("weight", "bias")
        return (*super().parameters_not_learned, *(f"imagenet_classifier.{name}" for name in unused))

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage: the children of torchvision's `features`, then the head."""
        children = [name for name, layer in self.backbone.features.named_children() if list(layer.parameters())]
        stages = {name: (f"backbone.features.{name}",) for name in children}
        unused = {} if self.imagenet_classifier is None else {"imagenet_classifier": ("imagenet_classifier",)}
        return {**stages, **unused, "head": ("head",)}


def _rename(name: str) -> str | None:
    return None if name.startswith("classifier.") else f"backbone.{name}"


_DONOR = Donor("densenet121.tv_in1k", _rename)


@register_model(img_size=224, first_conv="backbone.features.conv0", classifier="head.classifier", donor=_DONOR)
def chiron_densenet_transformer(*, num_classes: int = 1000, drop_rate: float = 0.2, **kwargs: Any) -> nn.Module:
    """12,211,073 parameters at one output."""
    backbone = timm.create_model("densenet121", **kwargs)
    return DenseNetTransformer(backbone, num_classes=num_classes, drop_rate=drop_rate)


@register_model(img_size=224, first_conv="backbone.features.conv0", classifier="head.classifier", donor=_DONOR)
def chiron_densenet_transformer_code(*, num_classes: int = 1000, drop_rate: float = 0.2, **kwargs: Any) -> nn.Module:
    """13,236,073 parameters at one output: the unused ImageNet classifier stays."""
    backbone = timm.create_model("densenet121", num_classes=1000, **kwargs)
    return DenseNetTransformer(backbone, num_classes=num_classes, drop_rate=drop_rate, imagenet_classifier=True)


_NANO: dict[str, Any] = {"growth_rate": 8, "block_config": (2, 2, 2, 2)}
_NANO_HEAD: dict[str, Any] = {"embed_dim": 64, "num_heads": 4, "ffn_dim": 128}


@register_model(img_size=96, first_conv="backbone.features.conv0", classifier="head.classifier")
def chiron_densenet_transformer_nano(*, num_classes: int = 1000, drop_rate: float = 0.2, **kwargs: Any) -> nn.Module:
    """0.1 million parameters, for tests and the demo: 3x3 places at 96 pixels."""
    backbone = DenseNet(**{**_NANO, **kwargs})
    return DenseNetTransformer(backbone, num_classes=num_classes, drop_rate=drop_rate, **_NANO_HEAD)


@register_model(img_size=96, first_conv="backbone.features.conv0", classifier="head.classifier")
def chiron_densenet_transformer_code_nano(
    *, num_classes: int = 1000, drop_rate: float = 0.2, **kwargs: Any
) -> nn.Module:
    """The code's reading in small, with its unused classifier."""
    backbone = DenseNet(**{**_NANO, "num_classes": 100, **kwargs})
    head_args = {"drop_rate": drop_rate, **_NANO_HEAD}
    return DenseNetTransformer(backbone, num_classes=num_classes, imagenet_classifier=True, **head_args)
