"""OnnxScorer: a `model.onnx` that Chiron wrote, run by ONNX Runtime on the processor. No torch here.

The file is plain ONNX. What it says of itself lies in `metadata_props`, the last of which is the SHA-256 of all before
its own 64 digits: these are the last bytes of the file, since protocol buffers may be written one behind another.
"""

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from chiron.core.errors import BundleError, reason_of
from chiron.core.hashing import sha256_bytes
from chiron.core.lazy import require_package
from chiron.exported.base import ExportedScorer
from chiron.exported.telemetry import without_telemetry
from chiron.scorer import StoredImages
from chiron.spec.export_spec import ExportSpec

SPEC, CHECKSUM = "chiron", "sha256"  # keys of the metadata
_DIGITS = 64
# Field 14 of a ModelProto, metadata_props: a key (field 1) and a value (field 2), each with its length before it.
_ENTRY = bytes([1 << 3 | 2, len(CHECKSUM)]) + CHECKSUM.encode() + bytes([2 << 3 | 2, _DIGITS])
_SEAL = bytes([14 << 3 | 2, len(_ENTRY) + _DIGITS]) + _ENTRY


def sealed(model: bytes) -> bytes:
    """A serialized ONNX model with its checksum as the last of its metadata."""
    content = model + _SEAL
    return content + sha256_bytes(content).encode()


class OnnxScorer(ExportedScorer):
    """Networks in ONNX Runtime.

    Args:
        threads: of the processor; None takes all cores.
    Raises:
        BundleError: the file is missing, changed, or none of Chiron's.
        SpecError: ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        model = _read(Path(path))
        with without_telemetry():
            runtime = require_package("onnxruntime", extra="export", for_what="An ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors: warnings speak of its own optimizations
        try:
            self.session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            said = self.session.get_modelmeta().custom_metadata_map
            spec = ExportSpec.model_validate_json(said[SPEC])
        except (ValidationError, KeyError) as error:
            raise BundleError(
                f"An ONNX file must hold what `chiron export` of this version writes. Got another one at {path}. "
                "Export the bundle again."
            ) from error
        except Exception as error:  # ONNX Runtime's errors are bare exceptions
            raise BundleError(
                f"ONNX Runtime must be able to run the file. Got {reason_of(error)} at {path}. Update onnxruntime."
            ) from error
        super().__init__(spec)

    def run(self, stored: StoredImages) -> dict[str, np.ndarray]:
        """All outputs of the graph by their names."""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {"images": stored}), strict=True))


def _read(path: Path) -> bytes:
    try:
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"An ONNX file must be readable. Got {reason_of(error)} at {path}. Check the path."
        ) from error
    content, digits = model[:-_DIGITS], model[-_DIGITS:]
    if not content.endswith(_SEAL):
        raise BundleError(
            f"An ONNX file must be a whole one of `chiron export`. Got a file without its checksum at {path}. "
            "Export the bundle again."
        )
    if sha256_bytes(content).encode() != digits:
        raise BundleError(f"The checksum of a file must hold. Got changed content at {path}. Copy or export it again.")
    return model
