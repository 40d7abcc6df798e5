"""`chiron bundle show | verify | card | pack`: what a bundle is, whether it is whole, and one file to hand on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiron.bundle import read_bundle, read_explainer_checks, read_known_images
from chiron.bundle_files import BUNDLE_FILES, CARD, BundleFiles, is_zip, pack
from chiron.core.errors import BundleError, ChironError, SpecError
from chiron.core.files import require_new, write_text
from chiron.exported.base import ExportedScorer
from chiron.exporting.golden import golden_images
from chiron.loading import is_exported, is_onnx, load
from chiron.model_card import NOT_STATED, model_card
from chiron.scorer import Scorer
from chiron.spec.bundle_spec import BundleSpec
from chiron.spec.provenance import DISCLAIMER
from chiron.workflows.calibrate import told_decision


@dataclass(frozen=True)
class Check:
    """One thing that holds of a whole bundle, or why it does not."""

    name: str
    problem: str = ""


@dataclass(frozen=True)
class Described:
    """A bundle or an exported form; `form` says which of them, with what belongs to it alone."""

    bundle_id: str
    form: dict[str, Any]
    spec: BundleSpec

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "bundle_id": self.bundle_id,
            **self.form,
            **self.spec.model_dump(mode="json"),
            "disclaimer": DISCLAIMER,
        }

    def lines(self) -> list[str]:
        """What matters most."""
        network, labels, seen = self.spec.network, self.spec.labels, self.spec.input
        use, made, unit = self.spec.intended_use, self.spec.provenance, self.spec.decision.unit
        members = f", {network.members} networks" if network.members > 1 else ""
        form = ", ".join(str(self.form[key]) for key in ("form", "precision") if key in self.form)
        return [
            f"bundle: {self.bundle_id} ({form})",
            f"network: {network.name}{members}, {made.num_parameters:,} parameters, init: {made.init}",
            f"classes: {', '.join(labels.names)}" + (f" (positive: {labels.positive})" if labels.positive else ""),
            f"input: {seen.img_size} px, {seen.in_chans} channels, {seen.bit_depth} bits",
            f"answers for: the {unit}",
            *told_decision(self.spec.decision),
            f"question: {use.question or NOT_STATED}",
            f"population: {use.population or NOT_STATED}",
            f"made: {made.created} with Chiron {made.chiron_version}",
            DISCLAIMER,
        ]


def describe_bundle(path: str | Path) -> Described:
    """What a bundle or an exported form says of itself.

    Raises:
        BundleError: it is missing, damaged or no bundle.
    """
    place = Path(path)
    if not is_exported(place):
        identity, spec, _ = read_bundle(place)
        return Described(identity, {"form": "bundle", "files": BundleFiles(place).names}, spec)
    said = _exported(place).spec
    agreement = None if said.agreement is None else said.agreement.model_dump(mode="json")
    form = {"form": "onnx" if is_onnx(place) else "openvino", "precision": said.precision, "agreement": agreement}
    return Described(said.bundle_id, form, said.bundle)


def verify_bundle(path: str | Path) -> list[Check]:
    """What holds of a bundle or an exported form, up to the first thing that does not.

    A bundle holds data alone and no file that is not its own, its checksums hold, its tensors fit its network, and what
    comes out for the golden images is finite.
    """
    place = Path(path)

    def only_data() -> str:
        BundleFiles(place)
        return ""

    def only_own() -> str:
        strange = [name for name in BundleFiles(place).names if name not in BUNDLE_FILES]
        return f"A bundle must hold its own files alone. Got {', '.join(strange)}. Remove it." if strange else ""

    def whole() -> str:
        identity, _, _ = read_bundle(place)
        read_known_images(place)
        read_explainer_checks(place, identity)
        return ""

    def loads() -> str:
        load(place)
        return ""

    def answers() -> str:
        return _answers(load(place))

    steps = {"loads": loads, "answers": answers}
    if not is_exported(place):
        steps = {"data alone": only_data, "no other files": only_own, "checksums": whole, **steps}
    checks: list[Check] = []
    for name, step in steps.items():
        try:
            checks.append(Check(name, step()))
        except ChironError as error:
            checks.append(Check(name, str(error)))
        if checks[-1].problem:
            break
    return checks


def write_card(path: str | Path, *, license: str = "unknown", write: bool = False) -> str:
    """The model card of a bundle as its facts say it; `write` puts it into the bundle in place of the former.

    Args:
        license: of the bundle, by the Hugging Face Hub's name for it, for example `cc-by-4.0`.
    Raises:
        BundleError: the bundle is missing or damaged, or `write` for a zip.
    """
    files = BundleFiles(Path(path))
    identity, spec, _ = read_bundle(files.path)
    card = model_card(identity, spec, license=license)
    if write and is_zip(files.path):
        raise BundleError(f"A card is written into a folder. Got {path}. Unpack it, or pack it after --write.")
    if write:
        write_text(files.path / CARD, card)
    return card


def pack_bundle(path: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """One zip of a bundle, which `chiron.load` and `chiron predict` take as they take the folder.

    Raises:
        BundleError: the bundle is missing or damaged.
        SpecError: `out` exists, or is no `.zip`.
    """
    target = Path(out)
    if not is_zip(target):
        raise SpecError(f"A packed bundle must be named .zip. Got {target}. Add the suffix.")
    require_new(target, force=force)
    files = BundleFiles(Path(path))
    read_bundle(files.path)
    pack(files, target)
    return target


def _exported(place: Path) -> ExportedScorer:
    scorer = load(place)
    assert isinstance(scorer, ExportedScorer)  # by its kind of file
    return scorer


def _answers(scorer: Scorer) -> str:
    probs = scorer.probabilities(scorer.outputs(golden_images(scorer)).logits)
    if np.isfinite(probs).all() and probs.min() >= 0 and probs.max() <= 1:
        return ""
    return "Probabilities must lie between 0 and 1. Got others for golden images. Train the network again."
