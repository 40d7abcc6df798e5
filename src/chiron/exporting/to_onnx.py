"""From a traced program to ONNX, which is also the road to OpenVINO."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch.export import ExportedProgram

from chiron.core.errors import ExportError, reason_of
from chiron.core.lazy import require_package
from chiron.exported.telemetry import without_telemetry
from chiron.exporting.graph import INPUT, OUTPUTS

_MOST_BYTES = 2**31 - 1  # of a serialized protocol buffer


def to_onnx(program: ExportedProgram) -> bytes:
    """The serialized model without metadata.

    Raises:
        ExportError: an operation has no form in ONNX, or the model is too large for one file.
        SpecError: a package is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require_package(package, extra="export", for_what="An export to ONNX or OpenVINO")
    import torch.onnx

    try:
        with _quiet(), without_telemetry():
            names = OUTPUTS[: len(program.graph_signature.user_outputs)]
            made = torch.onnx.export(program, input_names=[INPUT], output_names=names, dynamo=True, verbose=False)
            assert made is not None  # without a file name it is returned
            model = made.model_proto.SerializeToString()
    except Exception as error:  # errors of three libraries
        raise ExportError(
            f"Every operation must have a form in ONNX. Got {reason_of(error)}. Use --to torch, or the bundle itself."
        ) from error
    if len(model) > _MOST_BYTES:
        raise ExportError(f"An ONNX model must be smaller than 2 GB. Got {len(model) / 1e9:.1f} GB. Use --to torch.")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's advice to its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
