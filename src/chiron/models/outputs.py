"""ModelOutput: what a network can show besides its logits, under one set of names for every family."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["ModelOutput"]


class ModelOutput(NamedTuple):
    """Logits and how the network came to them; parts that a family does not have are empty.

    It is what `forward_named` gives. Explainers read the maps, auxiliary losses the mask.
    """

    logits: Float[Tensor, "b classes"]
    # softmax weights, a layer each, (batch, heads, queries, keys): a query's row sums to 1 over the keys
    attn: tuple[Float[Tensor, "b _heads _queries _keys"], ...] = ()
    # a pruning each: where the tokens that it left stood, counted along the rows of the grid that entered the first
    kept_tokens: tuple[Int[Tensor, "b _kept"], ...] = ()
    # a pruning each: importance of the tokens that entered it; sums to 1
    token_scores: tuple[Float[Tensor, "b _tokens"], ...] = ()
    # what the segmentation head says of each pixel, before the sigmoid
    mask_logits: Float[Tensor, "b 1 _h _w"] | None = None
