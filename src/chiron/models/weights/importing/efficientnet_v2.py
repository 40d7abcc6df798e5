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

_PARTS = {  # kind of block -> its layers in torchvision and in timm
    "plain": {"0.0": "conv", "0.1": "bn1"},
    "fused": {"0.0": "conv_exp", "0.1": "bn1", "1.0": "conv_pwl", "1.1": "bn2"},
    "inverted": {
        "0.0": "conv_pw",
        "0.1": "bn1",
        "1.0": "conv_dw",
        "1.1": "bn2",
        "2.fc1": "se.conv_reduce",
        "2.fc2": "se.conv_expand",
        "3.0": "conv_pwl",
        "3.1": "bn3",
    },
}
_BLOCK = re.compile(r"^features\.(\d+)\.(\d+)\.block\.(\d\.\w+)\.(\w+)$")
_END = re.compile(r"^features\.(\d+)\.([01])\.(\w+)$")


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
    return {_timm_name(old, tensors): tensor for old, tensor in tensors.items()}


def _timm_name(old: str, tensors: dict[str, Tensor]) -> str:
    if block := _BLOCK.match(old):
        stage, i, part, leaf = block.groups()
        kind = _kind(f"features.{stage}.{i}.block.", tensors)
        return f"blocks.{int(stage) - 1}.{i}.{_PARTS[kind].get(part, part)}.{leaf}"
    if end := _END.match(old):
        stage, part, leaf = end.groups()
        layers = ("conv_stem", "bn1") if stage == "0" else ("conv_head", "bn2")
        return f"{layers[int(part)]}.{leaf}"
    return re.sub(r"^classifier\.1\.", "classifier.", old)


def _kind(block: str, tensors: dict[str, Tensor]) -> str:
    if f"{block}2.fc1.weight" in tensors:
        return "inverted"
    return "fused" if f"{block}1.0.weight" in tensors else "plain"
