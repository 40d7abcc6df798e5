"""OpenVINO: a folder for Intel's runtime, the fastest on most processors; bf16, fp16 and int8 too."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chiron.core.files import new_folder
from chiron.core.lazy import require_package
from chiron.exported.openvino import NETWORKS, SCOPE, SPEC, OpenVinoScorer, load_openvino, sealed
from chiron.exported.telemetry import without_telemetry
from chiron.exporting.agreement import Run
from chiron.exporting.graph import INPUT, OUTPUTS
from chiron.exporting.trace import Traced
from chiron.spec.export_spec import ExportSpec, Precision

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
NAME = "openvino"
_MOST_SAMPLES = 300


def convert(traced: Traced, precision: Precision) -> dict[str, Any]:
    """The models of OpenVINO by the names of their files: the networks, and by itself the out-of-scope score.

    The score is made of faint details and keeps fp32 whatever the networks have. int8 alone changes these here: bf16 is
    how they are run, fp16 how their weights are written.
    """
    *of_networks, of_scope = OUTPUTS
    model = _giving(traced, of_networks)
    made = {NETWORKS: _quantized(model, traced) if precision == "int8" else model}
    if traced.has_scope:
        made[SCOPE] = _giving(traced, [of_scope])
    return made


def write(models: dict[str, Any], spec: ExportSpec, path: Path) -> None:
    """Graphs, weights, and what they say of themselves with checksums of all files."""
    with new_folder(path) as folder:
        for name, model in models.items():
            compressed = spec.precision == "fp16" and name == NETWORKS
            load_openvino().save_model(model, folder / f"{name}.xml", compress_to_fp16=compressed)
        (folder / SPEC).write_text(sealed(spec, folder), encoding="utf-8")


def opened(path: Path) -> Run:
    """The graph of a written folder."""
    return OpenVinoScorer(path).run


def _giving(traced: Traced, outputs: Sequence[str]) -> Any:
    """The graph with these of its outputs alone, and what they are made of."""
    model = load_openvino().Core().read_model(traced.onnx)
    for result in model.get_results():
        if result.output(0).get_any_name() not in outputs:
            model.remove_result(result)
    return model


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
