"""Predictor: one classifier over many inputs, in batches; one bad file never stops the rest."""

import glob
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chiron.classifier import Classifier, Prediction
from chiron.core.errors import DataError, PreprocessError
from chiron.data.dataset import to_tensor
from chiron.data.image_names import is_image_name, unnamed_dicom
from chiron.data.source import ImageSource
from chiron.data.units import unit_names

log = logging.getLogger("chiron.predict")


@dataclass(frozen=True)
class Input:
    """One image to be predicted: how to call it and where its bytes are."""

    name: str
    source: ImageSource
    path: str


@dataclass(frozen=True)
class Row:
    """What came of one input: a prediction with its logits, or the sentence why there is none."""

    name: str
    prediction: Prediction | None = None
    logits: tuple[float, ...] = ()
    problem: str = ""
    member_logits: tuple[tuple[float, ...], ...] = ()  # of each network; `logits` is their mean


@dataclass(frozen=True)
class UnitRow:
    """What came of one unit: the prediction of all its images together, and the rows of these."""

    name: str
    images: tuple[Row, ...]
    prediction: Prediction | None = None
    member_logits: tuple[tuple[float, ...], ...] = ()

    @property
    def logits(self) -> tuple[float, ...]:
        """The mean over networks."""
        return tuple(np.mean(self.member_logits, axis=0).tolist()) if self.member_logits else ()

    @property
    def num_images(self) -> int:
        """Images that the prediction was made of."""
        return sum(row.prediction is not None for row in self.images)

    @property
    def problem(self) -> str:
        """Why there is no prediction."""
        return "" if self.prediction else f"none of its {len(self.images)} images can be used"


def find_inputs(paths: Iterable[str | Path]) -> list[Input]:
    """The images behind files, folders (recursive), glob patterns and zips, sorted within each.

    Raises:
        DataError: a path does not exist, or a folder, pattern or zip holds no image.
    """
    inputs: list[Input] = []
    for given in paths:
        path = Path(given)
        if path.is_dir() or path.suffix.lower() in {".zip", ".npz"}:
            found = _inside(path)
        elif path.is_file():
            found = [Input(str(path), ImageSource(path.parent), path.name)]
        else:
            matches = sorted(Path(match) for match in glob.glob(str(given), recursive=True))
            found = [Input(str(match), ImageSource(match.parent), match.name) for match in matches if match.is_file()]
        if not found:
            what = "at least one image" if path.exists() else "a file, folder, pattern or zip that exists"
            raise DataError(f"An input must be {what}. Got {given}. Check the path.")
        inputs += found
    return list({item.name: item for item in inputs}.values())  # a file that is named twice counts once


def _inside(path: Path) -> list[Input]:
    source = ImageSource(path)
    names = source.names()
    unnamed = unnamed_dicom(source, names)
    images = [name for name in names if source.is_npz or is_image_name(name) or name in unnamed]
    if len(images) < len(names):
        log.warning("%d files in %s are no images by their name and are skipped", len(names) - len(images), path)
    return [Input(f"{path}/{name}", source, name) for name in images]


class Predictor:
    """Streams predictions; every path from file to probability is the classifier's own."""

    def __init__(self, classifier: Classifier, *, batch_size: int = 32) -> None:
        self.classifier, self.batch_size = classifier, batch_size

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input, in order."""
        stream = iter(inputs)
        while batch := list(islice(stream, self.batch_size)):
            yield from self._batch(batch)

    def _batch(self, inputs: list[Input]) -> list[Row]:
        problems: list[str] = []
        pixels: list[torch.Tensor] = []
        for item in inputs:
            try:
                pixels.append(to_tensor(item.source.stored(item.path, self.classifier.input_spec)))
                problems.append("")
            except (PreprocessError, DataError) as error:
                problems.append(str(error))
        done: Iterator[tuple[Prediction, Tensor]] = iter(())
        if pixels:
            logits = self.classifier.member_logits(torch.stack(pixels)).cpu()
            done = iter(zip(self.classifier.read_out(logits), logits.unbind(1), strict=True))
        rows = []
        for item, problem in zip(inputs, problems, strict=True):
            if problem:
                rows.append(Row(item.name, problem=problem))
            else:
                prediction, own = next(done)
                members = tuple(tuple(values) for values in own.tolist())
                rows.append(Row(item.name, prediction, tuple(own.mean(0).tolist()), member_logits=members))
        return rows


def by_unit(classifier: Classifier, rows: Sequence[Row], units: Sequence[str | None]) -> list[UnitRow]:
    """One row a unit, in the order of their first images; an image without a unit is one by itself.

    The outputs of a unit's images are combined by the bundle's rule, then calibrated and decided upon as one.
    """
    names, _ = unit_names([row.name for row in rows], units)
    images: dict[str, list[Row]] = {}
    for name, row in zip(names, rows, strict=True):
        images.setdefault(name, []).append(row)
    return [_unit_row(classifier, name, tuple(own)) for name, own in images.items()]


def _unit_row(classifier: Classifier, name: str, images: tuple[Row, ...]) -> UnitRow:
    usable = [row.member_logits for row in images if row.prediction]
    if not usable:
        return UnitRow(name, images)
    combined = classifier.combined(torch.tensor(usable, dtype=torch.float64).swapaxes(0, 1))
    members = tuple(tuple(values) for values in combined[:, 0].tolist())
    return UnitRow(name, images, classifier.read_out(combined)[0], members)
