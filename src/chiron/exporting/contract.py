"""`check_exporter`: what every format in Chiron must do with every network, those of outside packages too."""

import tempfile
from pathlib import Path

from chiron.classifier import Classifier
from chiron.core.errors import BundleError, ExportError
from chiron.core.registry import load_leaf
from chiron.exporting.agreement import agreement
from chiron.exporting.trace import Traced
from chiron.exporting.write import FORMATS
from chiron.loading import is_exported, load
from chiron.spec.export_spec import Agreement, ExportSpec


def check_exporter(to: str, classifier: Classifier, traced: Traced) -> Agreement:
    """How well the format agrees with the classifier in fp32.

    What is written is opened again and compared in batches of several sizes. A form that `chiron.load` takes brings all
    of the bundle but its tensors with it, and is refused once a byte has changed; a form that it does not take is
    refused by it.

    Args:
        traced: the classifier's graph, which several formats may share.
    Raises:
        ExportError: a rule is broken; the message names it.
    """
    leaf = load_leaf(FORMATS, to, kind="format")
    _require("fp32" in leaf.PRECISIONS and bool(leaf.NAME), to, "A format must have fp32 and a NAME", leaf.PRECISIONS)
    spec = ExportSpec(bundle_id=classifier.bundle_id, bundle=classifier.bundle_spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / leaf.NAME
        leaf.write(leaf.convert(traced, "fp32"), spec, path)
        found = agreement(classifier, leaf.opened(path), required=True)
        if is_exported(path):
            loaded = load(path)
            _require(loaded.bundle_spec == spec.bundle, to, "A form must bring what the bundle says", "something else")
            _require(loaded.bundle_id == spec.bundle_id, to, "A form must name its bundle", loaded.bundle_id)
            largest = max([path, *path.rglob("*")], key=lambda it: it.stat().st_size if it.is_file() else 0)
            changed = bytearray(largest.read_bytes())
            changed[len(changed) // 2] ^= 1
            largest.write_bytes(changed)
        try:
            load(path)
        except BundleError:
            return found
    raise ExportError(f"chiron.load must refuse what it cannot trust. Got {to}, which it took. Mend the format.")


def _require(holds: bool, to: str, rule: str, got: object) -> None:
    if not holds:
        raise ExportError(f"{rule}. Got {got} from {to}. Mend the format.")
