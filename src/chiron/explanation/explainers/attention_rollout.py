"""Attention rollout: how much of each place has reached the class token through all layers, by attention alone.

A layer passes half of a token on as it is and half by its attention, the mean over the heads; layers multiply. Where
the grid changes within a network, the layers after the change count.
Source: Abnar & Zuidema 2020, arXiv:2005.00928, eq. 1. Tokens that a pruning dropped pass nothing on from there.
"""

from collections.abc import Sequence

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.attention import attention_layers, why_no_attention
from chiron.explanation.subject import Subject

TITLE = "Attention rollout"
CLASS_SPECIFIC = False
COST = "one forward and one backward pass"
RESIDUAL = 0.5  # share of a token that the residual connection passes on
why_not = why_no_attention


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """One map an image, on the grid of the tokens."""
    layers = attention_layers(subject)
    return layers.as_maps(roll_out(layers.weights))


def roll_out(weights: Sequence[Float[Tensor, "b _h _q n"]]) -> Float[Tensor, "b _q n"]:
    """What the queries of the last layer hold of the tokens that entered the first; rows sum to 1."""
    like = weights[0]
    own = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    rolled = own.expand(len(like), -1, -1)
    for layer in weights:
        mixed = reduce(layer, "b h q n -> b q n", "mean")
        if mixed.shape[1:] == own.shape:  # a single query that pools has no residual
            mixed = RESIDUAL * own + (1 - RESIDUAL) * mixed
        rolled = mixed @ rolled
    return rolled
