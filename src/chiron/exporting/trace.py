"""From a classifier to its graph as torch.export sees it: what all formats are converted from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from chiron.classifier import Classifier
from chiron.core.errors import ExportError, reason_of
from chiron.exporting.graph import INPUT, Graph, example_images
from chiron.exporting.to_onnx import to_onnx
from chiron.scorer import StoredImages


@dataclass(frozen=True)
class Traced:
    """The graph as torch.export sees it, for any number of images, and what a conversion may want to know."""

    program: ExportedProgram
    has_attention: bool
    has_scope: bool  # whether distances are among its outputs
    samples: StoredImages  # by which int8 finds its ranges

    @cached_property
    def onnx(self) -> bytes:
        """The graph as a serialized ONNX model: one format, and the road to another."""
        return to_onnx(self.program)


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
        with torch.no_grad(), _plain_attention(graph):
            program = torch.export.export(graph, (images,), dynamic_shapes={INPUT: {0: batch}}, strict=False)
    except Exception as error:  # torch.export raises errors of many kinds
        raise ExportError(
            f"A network must be traceable to be exported. Got {reason_of(error)} from {classifier.network_spec.name}. "
            "Use the bundle itself."
        ) from error
    kinds = {type(layer).__name__.lower() for network in classifier.networks for layer in network.modules()}
    has_attention = any("attention" in kind or "attn" in kind for kind in kinds)
    return Traced(program, has_attention, classifier.scope_distance is not None, samples)


@contextmanager
def _plain_attention(graph: nn.Module) -> Iterator[None]:
    """timm's layers with attention written out: fused, with a bias, it gives a layout that ONNX's steps do not keep."""
    fused = [layer for layer in graph.modules() if getattr(layer, "fused_attn", False)]
    for layer in fused:
        layer.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in fused:
            layer.fused_attn = True  # type: ignore[assignment]
