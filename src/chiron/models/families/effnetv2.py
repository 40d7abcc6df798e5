"""EfficientNetV2 under a head of its own: the classifier of three linear layers, or the recurrent one.

Source: Dermalyze (github.com/asmit404/Dermalyze), rebuilt from its facts; backbone from Tan and Le, EfficientNetV2,
arXiv:2104.00298. Weights: torchvision's ImageNet weights fit the backbone.
Departures: the backbone is timm's, with torchvision's batch-norm epsilon and stochastic depth; with equal tensors it
gives torchvision's features. `model.head: acrnn` puts the other head in place.
Shapes at 224 pixels: B batch, C channels, H W pixels; stem 24x112x112, stages of s 24x112x112, 48x56x56, 64x28x28,
128x14x14, 160x14x14, 256x7x7, last convolution 1280x7x7, vector 1280.
"""

from typing import Any

import timm
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

from chiron.models.headed import HeadedModel, make_head
from chiron.models.registry import Donor, register_model
from chiron.models.weights.importing.efficientnet_v2 import timm_name

__all__ = ["EffNetV2"]


def _rename(name: str) -> str | None:
    """Where a tensor of torchvision's network lies here; its classifier is left out, which the head replaces."""
    return None if name.startswith("classifier.") else f"backbone.{timm_name(name)}"


class EffNetV2(HeadedModel):
    """An EfficientNetV2 of timm and a head; stages are torchvision's children of `features`."""

    def __init__(self, backbone: EfficientNet, *, num_classes: int = 1000, drop_rate: float = 0.35) -> None:
        """Takes the backbone over and puts the head `simple` on it; `drop_rate` is the head's."""
        width = backbone.num_features
        super().__init__(
            backbone,
            make_head("simple", {"drop_rate": drop_rate}, width=width, num_classes=num_classes),
            cam_layer="bn2",
        )

    def named_stages(self) -> dict[str, tuple[str, ...]]:
        """Parameter-name prefixes by stage: the children of torchvision's `features`, then the head."""
        stages = {f"stage{i + 1}": (f"backbone.blocks.{i}",) for i in range(len(self.backbone.blocks))}
        stem, last = ("backbone.conv_stem", "backbone.bn1"), ("backbone.conv_head", "backbone.bn2")
        return {"stem": stem, **stages, "last_conv": last, "head": ("head",)}


def _effnetv2(
    size: str, *, num_classes: int = 1000, drop_rate: float = 0.35, drop_path_rate: float = 0.2, **kwargs: Any
) -> EffNetV2:
    backbone = timm.create_model(f"efficientnetv2_{size}", bn_eps=1e-3, drop_path_rate=drop_path_rate, **kwargs)
    return EffNetV2(backbone, num_classes=num_classes, drop_rate=drop_rate)


def _donor(size: str) -> Donor:
    return Donor(f"EfficientNet_V2_{size}_Weights.IMAGENET1K_V1", _rename)


@register_model(img_size=224, first_conv="backbone.conv_stem", classifier="head.classifier", donor=_donor("S"))
def chiron_effnetv2_s(**kwargs: Any) -> EffNetV2:
    """20,968,023 parameters at 7 classes."""
    return _effnetv2("s", **kwargs)


@register_model(img_size=224, first_conv="backbone.conv_stem", classifier="head.classifier", donor=_donor("M"))
def chiron_effnetv2_m(**kwargs: Any) -> EffNetV2:
    """53,648,891 parameters at 7 classes."""
    return _effnetv2("m", **kwargs)


@register_model(img_size=224, first_conv="backbone.conv_stem", classifier="head.classifier", donor=_donor("L"))
def chiron_effnetv2_l(**kwargs: Any) -> EffNetV2:
    """118,024,807 parameters at 7 classes."""
    return _effnetv2("l", **kwargs)


@register_model(img_size=96, first_conv="backbone.conv_stem", classifier="head.classifier")
def chiron_effnetv2_nano(*, num_classes: int = 1000, drop_rate: float = 0.35, **kwargs: Any) -> EffNetV2:
    """0.2 million parameters, for tests and the demo: one block of each of six stages, 3x3 places at 96 pixels."""
    stages = ["cn_r1_k3_s1_e1_c8_skip", "er_r1_k3_s2_e2_c16", "er_r1_k3_s2_e2_c16"]
    stages += ["ir_r1_k3_s2_e2_c24_se0.25", "ir_r1_k3_s1_e2_c24_se0.25", "ir_r1_k3_s2_e2_c32_se0.25"]
    numbers = {"stem_size": 8, "num_features": 128, "act_layer": nn.SiLU}
    backbone = EfficientNet(decode_arch_def([[stage] for stage in stages]), **{**numbers, **kwargs})
    return EffNetV2(backbone, num_classes=num_classes, drop_rate=drop_rate)
