"""EfficientNetV2 of torchvision for timm's `efficientnetv2_s`, `_m` and `_l`, which are the same network.

Source: Tan and Le, EfficientNetV2, arXiv:2104.00298; names of both libraries.
"""

import re

from torch import Tensor

from chiron.core.errors import ModelError

KIND = "torchvision EfficientNetV2"
NAMES_AS_THEY_ARE = True  # of a family whose donor is torchvision
NOTE = "torchvision's batch norm has another epsilon than timm's: train with --set model.args.bn_eps=0.001."
MEAN = STD = None  # those of the large model are others than those of the small ones

# What torchvision calls the layers of a block, by the kind of block, and what timm calls them.
_PLAIN = {"0.0": "conv", "0.1": "bn1"}
_FUSED = {"0.0": "conv_exp", "0.1": "bn1", "1.0": "conv_pwl", "1.1": "bn2"}
_INVERTED = {
    "0.0": "conv_pw",
    "0.1": "bn1",
    "1.0": "conv_dw",
    "1.1": "bn2",
    "2.fc1": "se.conv_reduce",
    "2.fc2": "se.conv_expand",
    "3.0": "conv_pwl",
    "3.1": "bn3",
}
_LAYERS_OF_STAGE = {1: _PLAIN, 2: _FUSED, 3: _FUSED}  # later stages have inverted blocks
_STEM = {"0": "conv_stem", "1": "bn1"}
_LAST = {"0": "conv_head", "1": "bn2"}


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By a first stage of one plain convolution a block, which the first version of the network has not."""
    return tensors.keys() >= {"features.0.0.weight", "features.1.0.block.0.0.weight", "features.2.0.block.1.0.weight"}


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Names of timm.

    Raises:
        ModelError: `name` is timm's copy of the other published weights, which pads otherwise.
    """
    if name.startswith("tf_"):
        raise ModelError(
            f"Weights of torchvision need a model that pads as torchvision does. Got {name}, which pads as TensorFlow "
            f"does. Use --as {name.removeprefix('tf_').partition('.')[0]}."
        )
    return {timm_name(old): tensor for old, tensor in tensors.items()}


def timm_name(old: str) -> str:
    """timm's name of a tensor of torchvision's efficientnet_v2_s, m or l; another name stays."""
    outside = re.fullmatch(r"features\.(\d+)\.([01])\.(\w+)", old)
    if outside is not None:
        layer = (_STEM if outside[1] == "0" else _LAST)[outside[2]]
        return f"{layer}.{outside[3]}"
    inside = re.fullmatch(r"features\.(\d+)\.(\d+)\.block\.(\d\.\w+)\.(\w+)", old)
    if inside is None:
        return re.sub(r"^classifier\.1\.", "classifier.", old)
    stage = int(inside[1])
    layers = _LAYERS_OF_STAGE.get(stage, _INVERTED)
    return f"blocks.{stage - 1}.{inside[2]}.{layers.get(inside[3], inside[3])}.{inside[4]}"
