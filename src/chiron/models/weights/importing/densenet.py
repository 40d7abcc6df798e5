"""DenseNet in torchvision's old names, `norm.1`, which its published files still have."""

import re

from torch import Tensor

KIND = "torchvision DenseNet in its old names"
NAMES_AS_THEY_ARE = False
NOTE = ""
MEAN = STD = None

_OLD = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By `norm.1` within a layer of a dense block, unless the network is the part of another that has its own file."""
    return any(_OLD.search(name) and not name.startswith("densenet121.") for name in tensors)


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Names of torchvision and timm, which are the same here."""
    return with_present_names(tensors)


def present_name(name: str) -> str:
    """`norm1` for `norm.1` and so on; other names stay."""
    return _OLD.sub(r"\1\2.", name)


def with_present_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under present names."""
    return {present_name(old): tensor for old, tensor in tensors.items()}
