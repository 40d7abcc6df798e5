"""OpenVINO: a folder for Intel's runtime, the fastest on most processors; bf16, fp16 and int8 too."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chiron.core.files import new_folder
from chiron.core.lazy import require_package
from chiron.export.agreement import Run
from chiron.export.graph import INPUT, Traced
from chiron.export.to_onnx import to_onnx
from chiron.exported.openvino import GRAPH, SPEC, WEIGHTS, OpenVinoScorer, load_openvino, sealed
from chiron.exported.telemetry import without_telemetry
from chiron.spec.export_spec import ExportSpec, Precision

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
NAME = "openvino"
_MOST_SAMPLES = 300


def convert(traced: Traced, precision: Precision) -> Any:
    """The model of OpenVINO. int8 alone changes it here: bf16 is how it is run, fp16 how its weights are written."""
    model = load_openvino().Core().read_model(to_onnx(traced.program))
    return _quantized(model, traced) if precision == "int8" else model


def write(model: Any, spec: ExportSpec, path: Path) -> None:
    """Graph, weights, and what they say of themselves with checksums of all three files."""
    with new_folder(path) as folder:
        load_openvino().save_model(model, folder / GRAPH, compress_to_fp16=spec.precision == "fp16")
        text = sealed(spec, (folder / GRAPH).read_bytes(), (folder / WEIGHTS).read_bytes())
        (folder / SPEC).write_text(text, encoding="utf-8")


def opened(path: Path) -> Run:
    """The graph of a written folder."""
    return OpenVinoScorer(path).run


def _quantized(model: Any, traced: Traced) -> Any:
    """The model with weights and activations in 8 bits where NNCF can, by the ranges that the samples show."""
    with without_telemetry():
        nncf = require_package("nncf", extra="export", for_what="An export in int8")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    samples = nncf.Dataset(list(_samples(traced)))
    kind = nncf.ModelType.TRANSFORMER if traced.has_attention else None
    return nncf.quantize(model, samples, model_type=kind, subset_size=_MOST_SAMPLES)


def _samples(traced: Traced) -> Iterator[dict[str, np.ndarray]]:
    for image in traced.samples[:_MOST_SAMPLES]:
        yield {INPUT: image[np.newaxis]}
