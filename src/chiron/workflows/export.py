"""`chiron export`: a bundle in a form that other runtimes run, proven to say the same."""

from dataclasses import dataclass
from pathlib import Path

from chiron.classifier import load
from chiron.core.errors import SpecError
from chiron.core.files import require_new
from chiron.core.registry import load_leaf
from chiron.engine.runtime import start_runtime
from chiron.exporting.agreement import TOLERANCE
from chiron.exporting.write import FORMATS, write_export
from chiron.spec.export_spec import ExportSpec, Precision
from chiron.spec.provenance import DISCLAIMER
from chiron.workflows.export_quality import real_images


@dataclass(frozen=True)
class Exported:
    """Where the form lies, and what it says of itself."""

    path: Path
    spec: ExportSpec


def export(
    bundle: str | Path,
    *,
    to: str,
    out: str | Path | None = None,
    precision: Precision = "fp32",
    data: str | Path | None = None,
    force: bool = False,
    threads: int | None = None,
) -> Exported:
    """Writes a bundle as ONNX, as an OpenVINO folder or as a `.pt2` program of torch.

    The graph goes from stored pixels to calibrated probabilities. It is written only where its outputs equal those of
    the bundle on golden images. A lower precision is judged on real images with labels instead, by what it loses.

    Args:
        bundle: a bundle or a run folder.
        to: `onnx`, `openvino` or `torch`.
        out: the file or folder; by default in the current folder, named by format and precision.
        precision: `fp32`; OpenVINO has `bf16`, `fp16` and `int8` as well.
        data: images with labels for a lower precision; by default those of the run's val split.
        threads: of the processor; default all.
    Raises:
        ExportError: the network cannot be exported, the form says something else, or a lower precision loses too much.
        SpecError: options that do not fit, or a package that is not installed.
        BundleError: the bundle is missing or damaged.
    """
    runtime = start_runtime(device="cpu", threads=threads)
    leaf, place = load_leaf(FORMATS, to, kind="format"), Path(bundle)
    target = Path(out) if out is not None else Path(_default_name(leaf.NAME, precision))
    require_new(target, force=force)
    classifier = load(place)
    if precision == "fp32":
        if data is not None:
            raise SpecError("Images judge a lower precision. Got --data for fp32, which is compared on golden images.")
        return Exported(target, write_export(classifier, target, to=to))
    images = real_images(place, classifier, None if data is None else Path(data), needs_samples=precision == "int8")
    spec = write_export(
        classifier,
        target,
        to=to,
        precision=precision,
        samples=images.stored_samples() if precision == "int8" else None,
        judge=lambda run: images.judge(run, runtime),
    )
    return Exported(target, spec)


def told_export(done: Exported) -> list[str]:
    """What was written and how it was proven, a line each."""
    found = done.spec.agreement
    assert found is not None  # it is written with one
    told = [f"{done.path}: {done.spec.bundle.network.name} ({done.spec.bundle_id}) in {done.spec.precision}"]
    told.append(
        f"largest difference of a probability from eager fp32: {found.largest_difference:.1e} over {found.num_images} "
        f"golden images" + (f" (allowed {TOLERANCE:g})" if found.quality is None else "")
    )
    if found.quality is not None:
        told.append(f"on {found.quality.num_images:,} real images ({found.quality.split}): {found.quality.words}")
    return [*told, DISCLAIMER]


def _default_name(name: str, precision: Precision) -> str:
    """`model.onnx`; of a lower precision `openvino-int8`."""
    return name if precision == "fp32" else f"{Path(name).stem}-{precision}{Path(name).suffix}"
