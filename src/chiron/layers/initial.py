"""The first weights that ConvNeXt and the vision transformers share.

Source: timm's `init_weights` of both; Liu et al., arXiv:2201.03545, and Touvron et al., arXiv:2012.12877.
"""

from timm.layers import trunc_normal_
from torch import nn

__all__ = ["draw_normal"]


def draw_normal(module: nn.Module) -> None:
    """For `Module.apply`: convolutions and linear layers normal with deviation 0.02, cut at 2; their biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
