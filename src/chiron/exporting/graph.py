"""Graph: everything from stored pixels to probabilities, as one network that every format is made of."""

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor, nn

from chiron.classifier import Classifier, class_logits
from chiron.exporting.calibration import Probabilities
from chiron.spec.input_spec import InputSpec

INPUT, OUTPUTS = "images", ("logits", "probabilities", "distances")  # the last of bundles with an out-of-scope score


class Graph(nn.Module):
    """`finish`, all networks, the calibration and the out-of-scope score.

    Takes stored images as `Scorer.store` makes them, stacked.

    Args:
        classifier: on the processor; its networks are shared, not copied.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.labels, self.finish, self.networks = classifier.labels, classifier.finish, classifier.networks
        self.scope_distance = classifier.scope_distance
        calibration, count = classifier.decision.calibration, len(classifier.labels.names)
        self.probabilities = Probabilities(calibration, count, several=classifier.labels.is_multi_label)

    def forward(self, images: UInt[Tensor, "batch size size channels"]) -> tuple[Float[Tensor, "..."], ...]:
        """Logits (members, batch, classes), probabilities of all networks (batch, classes), distances (batch)."""
        inputs = self.finish(images.permute(0, 3, 1, 2))
        logits = torch.stack([class_logits(network(*inputs), self.labels) for network in self.networks])
        distances = () if self.scope_distance is None else (self.scope_distance(inputs[0]),)
        return logits, self.probabilities(logits), *distances


def example_images(spec: InputSpec, count: int = 2) -> UInt[Tensor, "_count _size _size _channels"]:
    """Noise of the shape and type that the graph takes."""
    shape = (count, spec.stored_size, spec.stored_size, spec.stored_chans)
    random, dtype = np.random.default_rng(0), np.uint8 if spec.bit_depth == 8 else np.uint16
    return torch.from_numpy(random.integers(0, spec.max_value, shape, dtype=dtype, endpoint=True))
