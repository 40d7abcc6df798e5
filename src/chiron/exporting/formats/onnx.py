"""ONNX: one file for ONNX Runtime and for every program that reads ONNX."""

from pathlib import Path

from chiron.core.files import write_bytes
from chiron.core.lazy import require_package
from chiron.exported.onnx import SPEC, OnnxScorer, sealed
from chiron.exporting.agreement import Run
from chiron.exporting.trace import Traced
from chiron.spec.export_spec import ExportSpec, Precision

PRECISIONS = ("fp32",)
NAME = "model.onnx"


def convert(traced: Traced, precision: Precision) -> bytes:
    """The serialized model without metadata."""
    return traced.onnx


def write(model: bytes, spec: ExportSpec, path: Path) -> None:
    """The file with what it says of itself, and its checksum."""
    onnx = require_package("onnx", extra="export", for_what="An export to ONNX")
    proto = onnx.ModelProto.FromString(model)
    proto.producer_name, proto.producer_version = "chiron", spec.bundle.provenance.chiron_version
    proto.doc_string = spec.disclaimer
    onnx.helper.set_model_props(proto, {SPEC: spec.model_dump_json()})
    write_bytes(path, sealed(proto.SerializeToString()))


def opened(path: Path) -> Run:
    """The graph of a written file."""
    return OnnxScorer(path).run
