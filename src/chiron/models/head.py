"""Head: the small base of everything that `model.head` can put in place of a network's own classifier.

Shapes: B batch, N tokens (the places of the last feature map along its rows), D width.
"""

from torch import Tensor, nn

__all__ = ["Head"]


class Head(nn.Module):
    """From features to logits: `mix` makes one vector an image, `classifier` is linear on it.

    A leaf overrides `mix`, sets `reads_tokens`, and ends its `__init__` with `reset_classifier(num_classes)`.
    """

    reads_tokens = False  # the places of the last feature map; otherwise the backbone's pooled vector
    parameters_not_learned: tuple[str, ...] = ()  # whose gradient is always 0
    classifier: nn.Module

    def __init__(self, num_features: int) -> None:
        """Args:
        num_features: width of the vector that the classifier sees.
        """
        super().__init__()
        self.num_features = num_features

    def mix(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The vector that the classifier sees, (b, num_features), and the attention weights on the way to it.

        Args:
            x: (b, d), or (b, n, d) where `reads_tokens`.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits, or with `pre_logits` the vector that the classifier sees."""
        vector, _ = self.mix(x)
        return vector if pre_logits else self.classifier(vector)

    def reset_classifier(self, num_classes: int) -> None:
        """Puts a new, random classifier in place; 0 classes leave the vector."""
        self.classifier = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.classifier.apply(self.init_weights)

    def init_weights(self, module: nn.Module) -> None:
        """Draws a layer's first weights; torch's own draw stays unless a head says otherwise."""

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to decay beyond biases and norms."""
        return set()
