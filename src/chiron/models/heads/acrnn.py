"""acrnn: a convolution, an LSTM and attention over its steps, asked by the last one.

Source: Dermalyze (github.com/asmit404/Dermalyze), rebuilt from its facts; 547,575 parameters on 1280 at 7 classes.
Weights: none. Two readings of equal size: `sequence: false` is the code's, where the pooled vector is a sequence of
length 1, so that the attention weight is always 1 and the score matrix, the LSTM's recurrent matrix and the outer taps
of the convolution never learn; `sequence: true` mends it: the steps are the places of the last feature map, row by row.
Shapes: B batch, N steps (49 at 224 pixels, or 1), D width.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from chiron.layers.step_attention import StepAttention
from chiron.models.head import Head

OPTIONS = ("sequence",)


class ACRNNHead(Head):
    """Convolution over steps, ReLU, LSTM, attention of the last step to all, tanh."""

    def __init__(self, width: int, num_classes: int, *, sequence: bool = True) -> None:
        super().__init__(16)
        self.reads_tokens = sequence
        self.conv = nn.Conv1d(width, 128, kernel_size=3, padding=1)
        self.lstm = nn.LSTM(128, 64, batch_first=True)
        self.attention = StepAttention(64)
        self.proj = nn.Linear(128, 16, bias=False)
        if not sequence:
            self.parameters_not_learned = ("lstm.weight_hh_l0", "attention.score.weight")
        self.reset_classifier(num_classes)

    def mix(self, x: Float[Tensor, "b *n d"]) -> tuple[Float[Tensor, "b 16"], tuple[Float[Tensor, "b 1 1 _n"], ...]]:
        """What the last step and all steps in the light of it say together, and the weights over the steps."""
        channels = rearrange(x, "b n d -> b d n") if self.reads_tokens else x.unsqueeze(-1)
        steps = self.conv(channels).relu()
        states, _ = self.lstm(rearrange(steps, "b d n -> b n d"))
        together, weights = self.attention(states)
        return self.proj(together).tanh(), (rearrange(weights, "b n -> b 1 1 n"),)


make_head = ACRNNHead
