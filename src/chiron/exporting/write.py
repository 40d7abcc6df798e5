"""From a classifier to a file or folder of one format that was shown to say the same."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from chiron.classifier import Classifier
from chiron.core.errors import SpecError
from chiron.core.files import output_error
from chiron.core.registry import leaf_names, load_leaf
from chiron.exporting.agreement import Run, agreement
from chiron.exporting.graph import example_images
from chiron.exporting.trace import trace
from chiron.scorer import StoredImages
from chiron.spec.export_spec import ExportSpec, Precision, QualityCheck

FORMATS = "chiron.exporting.formats"

Judge = Callable[[Run], QualityCheck]  # raises ExportError where quality is not kept


def format_names() -> list[str]:
    """What can be exported to."""
    return leaf_names(FORMATS)


def write_export(
    classifier: Classifier,
    path: Path,
    *,
    to: str,
    precision: Precision = "fp32",
    samples: StoredImages | None = None,
    judge: Judge | None = None,
) -> ExportSpec:
    """Writes the classifier in another form, as a whole or not at all, and returns what the form says of itself.

    What is compared is a written draft, opened as a user would open it.

    Args:
        classifier: on the processor.
        to: a file of `export/formats`.
        samples: stored images of the kind that the bundle is for, by which int8 finds its ranges.
        judge: whether a lower precision keeps the quality; needed for these alone.
    Raises:
        ExportError: the form cannot be made, says something else, or does not keep the quality; nothing is written.
        SpecError: an unknown format, a precision that it does not have, or a package that is not installed.
        OutputError: the form cannot be written.
    """
    leaf = load_leaf(FORMATS, to, kind="format")
    if precision not in leaf.PRECISIONS:
        raise SpecError(
            f"The precision of {to} must be one of {', '.join(leaf.PRECISIONS)}. Got {precision}. Choose another, or "
            "another format."
        )
    if precision != "fp32" and judge is None:
        raise SpecError(f"A lower precision must be judged on real images. Got {precision} without a judge. Give one.")
    bundle = classifier.bundle_spec
    made = leaf.convert(
        trace(classifier, example_images(bundle.input).numpy() if samples is None else samples), precision
    )
    spec = ExportSpec(
        bundle_id=classifier.bundle_id, precision=precision, bundle=bundle, experience=classifier.experience
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.tmp-", dir=path.parent) as folder:
            draft = Path(folder) / leaf.NAME
            leaf.write(made, spec, draft)
            run: Run = leaf.opened(draft)
            found = agreement(classifier, run, required=precision == "fp32")
            if judge is not None and precision != "fp32":
                found = found.model_copy(update={"quality": judge(run)})
    except OSError as error:
        raise output_error(path, error) from error
    spec = spec.model_copy(update={"agreement": found})
    leaf.write(made, spec, path)
    return spec
