"""Softmax attention whose weights can be seen, for the layers that show their maps.

Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762, eq. 1. Where nobody asks for the weights, torch's
`scaled_dot_product_attention` gives the same tokens and never makes the map.
Shapes: B batch, H heads, Q queries, K keys, D width of a head.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["attend"]


def attend(
    q: Float[Tensor, "b h q d"], k: Float[Tensor, "b h k d"], v: Float[Tensor, "b h k d"], *, drop_rate: float = 0.0
) -> tuple[Float[Tensor, "b h q d"], Float[Tensor, "b h q k"]]:
    """Mixed values, and for every query its weights over the keys; the weights are those before dropout and sum to 1.

    Args:
        drop_rate: share of the weights that are dropped; 0 in evaluation.
    """
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return F.dropout(weights.to(v.dtype), drop_rate) @ v, weights
