"""`chiron.load`: the scorer behind a path, whatever it holds: a bundle, a run, an ONNX file or an OpenVINO folder."""

from pathlib import Path

from chiron.core.errors import BundleError, SpecError
from chiron.exported.openvino import GRAPH
from chiron.scorer import Scorer


def is_exported(path: str | Path) -> bool:
    """Whether the path is a form of a bundle that runs without torch."""
    return is_onnx(path) or (Path(path) / GRAPH).is_file()


def is_onnx(path: str | Path) -> bool:
    """Whether the path names an ONNX file."""
    return Path(path).suffix.lower() == ".onnx"


def load(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> Scorer:
    """What says something of images: a Classifier of a bundle or a run folder, or an exported form of one.

    Exported forms load no torch.

    Args:
        device: where torch computes; exported forms run on the processor (`cpu`, or `auto`).
        threads: of exported forms; None takes all cores. torch has one setting for the whole process.
    Raises:
        BundleError: what lies there is missing, damaged, or of a kind that is not loaded.
        SpecError: an exported form on another device than the processor, or without the package that runs it.
    """
    place = Path(path)
    if place.suffix.lower() in (".pt2", ".pt", ".pth"):
        raise BundleError(
            f"chiron.load reads bundles and its own ONNX and OpenVINO exports. Got {place}, of a format that can hold "
            "code. Give the bundle, or `chiron export BUNDLE --to onnx`."
        )
    if not is_exported(place):
        from chiron.classifier import load as load_classifier  # torch is loaded only where it is needed

        return load_classifier(place, device="cpu" if device == "auto" else device)
    if device not in ("cpu", "auto"):
        raise SpecError(
            f"An exported form runs on the processor. Got device {device!r} for {place}. Use cpu, or give the bundle."
        )
    if is_onnx(place):
        from chiron.exported.onnx import OnnxScorer

        return OnnxScorer(place, threads=threads)
    from chiron.exported.openvino import OpenVinoScorer

    return OpenVinoScorer(place, threads=threads)
