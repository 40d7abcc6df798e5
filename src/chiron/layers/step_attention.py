"""Attention over the steps of a recurrent network, asked by its last step.

Source: Luong et al., Effective Approaches to Attention-based Neural Machine Translation, arXiv:1508.04025, the
"general" score. Shapes: B batch, N steps, D width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["StepAttention"]


class StepAttention(nn.Module):
    """A step x scores (x W)·h against the last step h; the scores' softmax weighs the steps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, dim, bias=False)

    def forward(self, states: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b two_d"], Float[Tensor, "b n"]]:
        """The weighted mean of the steps beside the last step, and the weights, which sum to 1."""
        last = states[:, -1]
        scores = (self.score(states) * last.unsqueeze(1)).sum(dim=-1)
        weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        context = (weights.to(states.dtype).unsqueeze(-1) * states).sum(dim=1)
        return torch.cat([context, last], dim=-1), weights
