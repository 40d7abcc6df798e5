"""OpenVinoScorer: a folder of `model.xml`, `model.bin` and `bundle.json`, run by OpenVINO. No torch here.

Of a bundle with an out-of-scope score `scope.xml` and `scope.bin` stand beside them.
"""

import json
from functools import cached_property
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

NETWORKS, SCOPE = "model", "scope"  # each an .xml with a .bin
GRAPH, SPEC = f"{NETWORKS}.xml", "bundle.json"
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


def sealed(spec: ExportSpec, folder: Path) -> str:
    """The text of `bundle.json`, with checksums of itself and of all files in the folder."""
    content: dict[str, Any] = spec.model_dump(mode="json")
    content["files"] = {path.name: sha256_bytes(path.read_bytes()) for path in sorted(folder.iterdir())}
    return json.dumps(content | {"sha256": sha256_json(content)}, indent=2, ensure_ascii=False)


class OpenVinoScorer(ExportedScorer):
    """Networks in OpenVINO: all threads work on one image; of several images, each thread has its own.

    May be called from several threads at once.

    Args:
        threads: of the processor; None takes all cores.
    Raises:
        BundleError: a file is missing, changed, or none of Chiron's.
        SpecError: OpenVINO is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        spec, files = _read(Path(folder))
        self._core = load_openvino().Core()
        self._threads = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        hints = {NETWORKS: _HINTS[spec.precision]} | ({} if spec.bundle.scope is None else {SCOPE: "f32"})
        try:
            self._models = [
                (self._core.read_model(files[f"{name}.xml"], files[f"{name}.bin"]), hint)
                for name, hint in hints.items()
            ]
            self.compiled = self._compiled("LATENCY")
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO must be able to run the graph. Got {reason_of(error)} at {folder}. Update openvino."
            ) from error
        super().__init__(spec)

    def run(self, stored: StoredImages) -> dict[str, np.ndarray]:
        """All outputs of the graph by their names."""
        found: dict[str, np.ndarray] = {}
        for compiled in self.compiled if len(stored) == 1 else self._compiled_for_many:
            found |= _in_streams(compiled, stored)
        return found

    @cached_property
    def _compiled_for_many(self) -> list[Any]:
        return self._compiled("THROUGHPUT")

    def _compiled(self, hint: str) -> list[Any]:
        return [
            self._core.compile_model(
                model, "CPU", {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": precision, **self._threads}
            )
            for model, precision in self._models
        ]


def _in_streams(compiled: Any, stored: StoredImages) -> dict[str, np.ndarray]:
    """The outputs for all images, which are dealt out to as many requests as run at once."""
    parts = np.array_split(stored, min(len(stored), compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
    requests = [compiled.create_infer_request() for _ in parts]
    for request, part in zip(requests, parts, strict=True):
        request.start_async({"images": np.ascontiguousarray(part)})
    for request in requests:
        request.wait()
    found = {}
    for output in compiled.outputs:
        images = [axis for axis, size in enumerate(output.partial_shape) if size.is_dynamic]
        found[output.get_any_name()] = np.concatenate([it.get_tensor(output).data for it in requests], axis=images[0])
    return found


def _read(folder: Path) -> tuple[ExportSpec, dict[str, bytes]]:
    """What the folder says of itself, and its other files by name, as they were when it was written."""
    try:
        content = json.loads((folder / SPEC).read_bytes())
        stated, sums = content.pop("sha256"), content["files"]
        files = {name: (folder / Path(name).name).read_bytes() for name in sums}
    except OSError as error:
        raise BundleError(
            f"An OpenVINO folder must hold all files of its export. Got {reason_of(error)} in {folder}. "
            "Copy or export it again."
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleError(f"{SPEC} must be JSON. Got {reason_of(error)} in {folder}. Export it again.") from error
    if stated != sha256_json(content) or any(sums[name] != sha256_bytes(data) for name, data in files.items()):
        raise BundleError(
            f"The checksums of an OpenVINO folder must hold. Got changed content in {folder}. Copy or export it again."
        )
    del content["files"]
    try:
        return ExportSpec.model_validate_json(json.dumps(content)), files
    except ValidationError as error:
        raise BundleError(
            f"An OpenVINO folder must hold what `chiron export` of this version writes. Got another one in {folder}. "
            "Export the bundle again."
        ) from error
