"""linear: dropout and one linear layer on the pooled vector, the head that most networks come with.

Shapes: B batch, D width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from chiron.models.head import Head

OPTIONS = ("drop_rate",)


class LinearHead(Head):
    """Dropout, linear."""

    def __init__(self, width: int, num_classes: int, *, drop_rate: float = 0.0) -> None:
        super().__init__(width)
        self.drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def mix(self, x: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], tuple[Tensor, ...]]:
        """The pooled vector after dropout."""
        return self.drop(x), ()


make_head = LinearHead
