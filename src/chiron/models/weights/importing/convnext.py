"""ConvNeXt and ConvNeXtV2 in the names of their authors, which S1's hybrid (HybridConvNeXtV2) has for its stages too.

Source: Woo et al., ConvNeXt V2, arXiv:2301.00808; names of the published checkpoints.
"""

import re

from torch import Tensor

KIND = "ConvNeXt or ConvNeXtV2 in its authors' names"
NAMES_AS_THEY_ARE = False
NOTE = "Weights that the authors published are licensed CC BY-NC 4.0 (V2) or MIT (V1)."
MEAN = STD = None

_NAMES = [
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.([1-3])\.", r"stages.\1.downsample."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"\.grn\.gamma$", ".mlp.grn.weight"),
    (r"\.grn\.beta$", ".mlp.grn.bias"),
    (r"^norm\.", "head.norm."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
]


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By the list of downsampling layers, of which the stem is the first."""
    return "downsample_layers.0.0.weight" in tensors


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Names of timm; the weights of the response normalization lose their axes of length 1."""
    named = {}
    for old, tensor in tensors.items():
        new = old
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        named[new] = tensor.reshape(-1) if ".mlp.grn." in new else tensor
    return named
