"""OpenVinoScorer: a folder of `model.xml`, `model.bin` and `bundle.json`, run by OpenVINO. No torch here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from chiron.core.errors import BundleError, reason_of
from chiron.core.hashing import sha256_bytes, sha256_json
from chiron.core.lazy import require_package
from chiron.exported.base import ExportedScorer
from chiron.exported.telemetry import without_telemetry
from chiron.scorer import StoredImages
from chiron.spec.export_spec import ExportSpec, Precision

GRAPH, WEIGHTS, SPEC = "model.xml", "model.bin", "bundle.json"
# What is computed with. OpenVINO's own choice is bf16 wherever the processor has it, so that fp32 is always asked for;
# fp16 is how weights are stored, and int8 is written into the graph.
_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f32", "int8": "f32"}


def load_openvino() -> Any:
    """The package, loaded without its telemetry.

    Raises:
        SpecError: it is not installed.
    """
    with without_telemetry():
        return require_package("openvino", extra="export", for_what="An OpenVINO folder")


def sealed(spec: ExportSpec, graph: bytes, weights: bytes) -> str:
    """The text of `bundle.json`, with checksums of all three files."""
    content: dict[str, Any] = spec.model_dump(mode="json")
    content |= {"graph_sha256": sha256_bytes(graph), "weights_sha256": sha256_bytes(weights)}
    return json.dumps(content | {"sha256": sha256_json(content)}, indent=2, ensure_ascii=False)


class OpenVinoScorer(ExportedScorer):
    """Networks in OpenVINO.

    Args:
        threads: of the processor; None takes all cores.
    Raises:
        BundleError: a file is missing, changed, or none of Chiron's.
        SpecError: OpenVINO is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        spec, graph, weights = _read(Path(folder))
        core = load_openvino().Core()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[spec.precision], "PERFORMANCE_HINT": "LATENCY"}
        settings |= {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        try:
            model = core.read_model(graph, weights)
            self.compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO must be able to run the graph. Got {reason_of(error)} at {folder}. Update openvino."
            ) from error
        super().__init__(spec)

    def run(self, stored: StoredImages) -> dict[str, np.ndarray]:
        """All outputs of the graph by their names."""
        found = self.compiled(stored)
        return {output.get_any_name(): found[output] for output in self.compiled.outputs}


def _read(folder: Path) -> tuple[ExportSpec, bytes, bytes]:
    try:
        graph, weights = (folder / GRAPH).read_bytes(), (folder / WEIGHTS).read_bytes()
        content = json.loads((folder / SPEC).read_bytes())
    except OSError as error:
        raise BundleError(
            f"An OpenVINO folder must hold {GRAPH}, {WEIGHTS} and {SPEC}. Got {reason_of(error)} in {folder}. "
            "Copy or export it again."
        ) from error
    except ValueError as error:
        raise BundleError(f"{SPEC} must be JSON. Got {reason_of(error)} in {folder}. Export it again.") from error
    stated = content.pop("sha256", None) if isinstance(content, dict) else None
    sums = {"graph_sha256": sha256_bytes(graph), "weights_sha256": sha256_bytes(weights)}
    if stated is None or stated != sha256_json(content) or any(content.pop(key, "") != sums[key] for key in sums):
        raise BundleError(
            f"The checksums of an OpenVINO folder must hold. Got changed content in {folder}. Copy or export it again."
        )
    try:
        return ExportSpec.model_validate_json(json.dumps(content)), graph, weights
    except ValidationError as error:
        raise BundleError(
            f"An OpenVINO folder must hold what `chiron export` of this version writes. Got another one in {folder}. "
            "Export the bundle again."
        ) from error
