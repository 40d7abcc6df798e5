"""GFT, a baseline of H-CoAtNet: its checkpoints hold running averages that no other process can use.

They have the shape (batch, tokens): averages of the images that stood at one place of a batch, not of the network.
"""

import re

from torch import Tensor

KIND = "GFT without its running averages of a batch"
NAMES_AS_THEY_ARE = False
NOTE = ""
MEAN = STD = None

_AVERAGE = re.compile(r"(?:^|[._])ema(?:_\w+)?$")


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By buffers named for the average, with two axes."""
    return any(_is_average(name, tensor) for name, tensor in tensors.items())


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Without the averages."""
    return {old: tensor for old, tensor in tensors.items() if not _is_average(old, tensor)}


def _is_average(name: str, tensor: Tensor) -> bool:
    return tensor.ndim == 2 and _AVERAGE.search(name) is not None
