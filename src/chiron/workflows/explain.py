"""`chiron explain`: where a bundle's networks reacted in images, every map with scores, and a page of them."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from chiron.classifier import Classifier, load
from chiron.core.errors import DataError, SpecError
from chiron.core.files import new_folder, require_new, require_outside, write_text
from chiron.core.hashing import seed_of
from chiron.data.dataset import to_tensor
from chiron.data.image_names import is_image_name
from chiron.data.private import Privacy
from chiron.data.source import ImageSource
from chiron.data.units import unit_names
from chiron.engine.runtime import start_runtime
from chiron.explanation.explain import shown_of, subjects_of
from chiron.explanation.scored import ScoredExplainer
from chiron.predictor import Input, find_inputs
from chiron.preprocess.resize import canonical_resize
from chiron.report.explanation_page import render_explanations
from chiron.workflows.explained_set import Case, explain_set
from chiron.workflows.explainer_checks import keep_check
from chiron.workflows.privacy import names_as_kept
from chiron.workflows.units_of_files import units_of_files

FACTS, PAGE = "explanations.json", "index.html"
MOST_SHOWN = 24  # images on the page, so that it stays small


@dataclass(frozen=True)
class ExplainedImages:
    """Where the maps lie, and what is stored about them."""

    folder: Path
    facts: dict[str, Any]

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / PAGE


def explain_images(
    bundle: str | Path,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    method: str = "auto",
    class_name: str | None = None,
    masks: str | Path | None = None,
    by: str | None = None,
    table: str | Path | None = None,
    privacy: Privacy = "auto",
    batch_size: int = 16,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    force: bool = False,
) -> ExplainedImages:
    """A map, its picture and its scores for each image, the verdict on the explainer, and a page of them, in `out`.

    A verdict on enough images is kept with the bundle; for fewer images that one holds.

    Args:
        method: an explainer's name, or `auto`.
        class_name: the class that is explained; None for each image's most probable one.
        masks: a folder or zip of findings: pictures with the names of the images, 0 where there is none.
        by: what makes a unit, for intervals: a column of `table`, or `folder`; None: every image is one.
        privacy: whether outputs hold names of images, see `chiron.data.private`.
        seed: of explainers and scores that draw noise.
    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a path does not exist, no image can be used, or masks or table do not fit the images.
        ExplainError: no such class, a network that the explainer cannot explain, or all maps are blank.
        SpecError: `out` exists, or lies among the images.
    """
    target, given = Path(out), [Path(path) for path in paths]
    _require_replaceable(target, force)
    for path in given:
        require_outside(target, path)
    inputs = list(find_inputs(given).files())
    units = [None] * len(inputs) if by is None else units_of_files([it.name for it in inputs], by, _path(table))
    findings = None if masks is None else Findings(Path(masks), inputs)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(bundle, device=str(runtime.device))
    explainer = ScoredExplainer(classifier, method=method, class_name=class_name, seed=seed)
    called = names_as_kept(inputs, privacy, target)
    names = [it.name if called is None else called(it.name) for it in inputs]
    with new_folder(target) as folder:
        done = explain_set(
            folder,
            explainer,
            _cases(inputs, names, units),
            findings=None if findings is None else findings.of(classifier),
            batch_size=batch_size,
        )
        write_text(folder / PAGE, render_explanations(done))
        write_text(folder / FACTS, json.dumps(done.facts, indent=1, ensure_ascii=False, allow_nan=False))
    keep_check(Path(bundle), classifier, done.facts, source="given")
    return ExplainedImages(target, dict(done.facts))


class Findings:
    """Masks of findings, one beside each image by its name without suffix; an image without a mask has no finding.

    Raises:
        DataError: no mask has the name of an image, or a name is not that of one image and one mask.
    """

    def __init__(self, root: Path, inputs: Sequence[Input]) -> None:
        self.source = ImageSource(root)
        masks = [name for name in self.source.names() if is_image_name(name)]
        stems = Counter(PurePath(name).stem for name in masks)
        wanted = Counter(PurePath(it.path).stem for it in inputs)
        if not stems.keys() & wanted.keys():
            raise DataError(
                f"Masks must have the names of the images. Got {len(masks)} masks in {root}, none of them the name of "
                f"one of {len(inputs)} images. Name each as its image, with any suffix."
            )
        for stem in sorted(stems.keys() & wanted.keys()):
            if stems[stem] > 1 or wanted[stem] > 1:
                raise DataError(
                    f"A mask must belong to one image. Got {wanted[stem]} images and {stems[stem]} masks called "
                    f"{stem!r}. Rename them, or explain fewer images at once."
                )
        self.masks = {PurePath(name).stem: name for name in masks}

    def of(self, classifier: Classifier) -> "_FindingsAtInput":
        """The masks at the size of the network's input."""
        return _FindingsAtInput(self, classifier)


@dataclass(frozen=True)
class _FindingsAtInput:
    findings: Findings
    classifier: Classifier

    def __call__(self, item: Input) -> Bool[np.ndarray, "h w"]:
        """A mask takes the road of its image, so that it lies where its image lies."""
        spec = self.classifier.input_spec.model_copy(update={"mask": "none"})
        name = self.findings.masks.get(PurePath(item.path).stem)
        if name is None:
            return np.zeros((spec.img_size, spec.img_size), dtype=bool)
        mask, image = self.findings.source.decode(name), item.source.decode(item.path)
        if mask.shape[:2] != image.shape[:2]:
            raise DataError(
                f"A mask must have the size of its image. Got {mask.shape[1]} x {mask.shape[0]} pixels in {name}, and "
                f"{image.shape[1]} x {image.shape[0]} in {item.name}. Mend the mask."
            )
        whole = np.where(mask.any(axis=2, keepdims=True), np.uint8(255), np.uint8(0))
        stored = to_tensor(canonical_resize(whole, spec))[None]
        subject = subjects_of(self.classifier, stored, torch.zeros(1, dtype=torch.long))[0]
        return shown_of(self.classifier, subject)[0, ..., 0] > 127


def _cases(inputs: Sequence[Input], names: Sequence[str], units: Sequence[str | None]) -> list[Case]:
    """Each with a file name of its own: its number and what can be kept of its name."""
    drawn = sorted(range(len(names)), key=lambda place: (seed_of("gallery", names[place]), names[place]))[:MOST_SHOWN]
    unit_of, digits = unit_names(names, units)[0], len(str(len(names)))
    return [
        Case(item, name, f"maps/{place + 1:0{digits}}-{_plain(name)}", unit_of[place], shown=place in drawn)
        for place, (item, name) in enumerate(zip(inputs, names, strict=True))
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", PurePath(name).stem)[:60]


def _path(table: str | Path | None) -> Path | None:
    return None if table is None else Path(table)


def _require_replaceable(target: Path, force: bool) -> None:
    """Refuses what exists, and with `force` whatever is not an earlier output of this verb."""
    require_new(target, force=force)
    if target.is_dir() and any(target.iterdir()) and not (target / FACTS).is_file():
        raise SpecError(f"--force replaces only explanations. Got another folder at {target}. Choose another --out.")
