"""The sinusoidal position code: where a token stands, in sines and cosines of falling frequency.

Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.5.
Shapes: B batch, N tokens, D width.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["sinusoidal_position_code"]


def sinusoidal_position_code(length: int, dim: int, *, base: float = 10_000.0) -> Float[Tensor, "n d"]:
    """Code of the places 0, 1, ... in float64: sin(place / base^(i / dim)) at even i, the cosine beside it."""
    places = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequencies = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(base) / dim))
    code = torch.empty(length, dim, dtype=torch.float64)
    code[:, 0::2] = torch.sin(places * frequencies)
    code[:, 1::2] = torch.cos(places * frequencies[: dim // 2])
    return code
