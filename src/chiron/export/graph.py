"""Graph: everything from stored pixels to probabilities, as one network that every format is made of."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from chiron.classifier import Classifier, class_logits
from chiron.core.errors import ExportError, reason_of
from chiron.export.calibration import Probabilities
from chiron.scorer import StoredImages
from chiron.spec.input_spec import InputSpec

INPUT, OUTPUTS = "images", ("logits", "probabilities")


class Graph(nn.Module):
    """`finish`, all networks and the calibration. Takes stored images as `Scorer.store` makes them, stacked.

    Args:
        classifier: on the processor; its networks are shared, not copied.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.labels, self.finish, self.networks = classifier.labels, classifier.finish, classifier.networks
        calibration, count = classifier.decision.calibration, len(classifier.labels.names)
        self.probabilities = Probabilities(calibration, count, several=classifier.labels.is_multi_label)

    def forward(
        self, images: UInt[Tensor, "batch size size channels"]
    ) -> tuple[Float[Tensor, "members batch classes"], Float[Tensor, "batch classes"]]:
        """Logits of every network, and the probabilities of all together."""
        inputs = self.finish(images.permute(0, 3, 1, 2))
        logits = torch.stack([class_logits(network(*inputs), self.labels) for network in self.networks])
        return logits, self.probabilities(logits)


def example_images(spec: InputSpec, count: int = 2) -> UInt[Tensor, "_count _size _size _channels"]:
    """Noise of the shape and type that the graph takes."""
    shape = (count, spec.stored_size, spec.stored_size, spec.stored_chans)
    random, dtype = np.random.default_rng(0), np.uint8 if spec.bit_depth == 8 else np.uint16
    return torch.from_numpy(random.integers(0, spec.max_value, shape, dtype=dtype, endpoint=True))


@dataclass(frozen=True)
class Traced:
    """The graph as torch.export sees it, for any number of images, and what a conversion may want to know."""

    program: ExportedProgram
    has_attention: bool
    samples: StoredImages  # by which int8 finds its ranges


def trace(classifier: Classifier, samples: StoredImages) -> Traced:
    """Traces the classifier's graph.

    Args:
        samples: images that the networks are for.
    Raises:
        ExportError: a network does something that depends on values, or on the size of a batch.
    """
    graph, images = Graph(classifier).eval(), example_images(classifier.input_spec)
    batch = Dim("batch", min=1, max=1024)
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (images,), dynamic_shapes={INPUT: {0: batch}}, strict=False)
    except Exception as error:  # torch.export raises errors of many kinds
        raise ExportError(
            f"A network must be traceable to be exported. Got {reason_of(error)} from {classifier.network_spec.name}. "
            "Use the bundle itself."
        ) from error
    kinds = {type(layer).__name__.lower() for network in classifier.networks for layer in network.modules()}
    return Traced(program, any("attention" in kind or "attn" in kind for kind in kinds), samples)
