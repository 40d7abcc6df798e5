"""simple: three linear layers with batch norm, ReLU and dropout on the pooled vector.

Source: Dermalyze (github.com/asmit404/Dermalyze), rebuilt from its facts; 790,535 parameters on 1280 at 7 classes.
Weights: none. Departures: none known.
Shapes: B batch, D width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from chiron.models.head import Head

OPTIONS = ("drop_rate",)


class SimpleHead(Head):
    """Dropout and linear 512, then 256, then classes; batch norm and ReLU after the first two."""

    def __init__(self, width: int, num_classes: int, *, drop_rate: float = 0.35) -> None:
        super().__init__(256)
        self.layers = nn.Sequential(
            nn.Dropout(drop_rate),
            nn.Linear(width, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(drop_rate),
            nn.Linear(512, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(drop_rate),
        )
        self.layers.apply(self.init_weights)
        self.reset_classifier(num_classes)

    def init_weights(self, module: nn.Module) -> None:
        """Linear layers: Kaiming's normal by the number of outputs, biases zero."""
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)

    def mix(self, x: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b 256"], tuple[Tensor, ...]]:
        """The second hidden layer."""
        return self.layers(x), ()


make_head = SimpleHead
