"""Predictor: one classifier over many inputs, in batches; one bad file never stops the rest."""

import glob
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from chiron.core.errors import DataError, PreprocessError
from chiron.data.image_names import is_image_name, unnamed_dicom
from chiron.data.source import ImageSource
from chiron.data.units import unit_names
from chiron.prediction import Prediction
from chiron.preprocess.resize import StoredImage
from chiron.scorer import Outputs, Scorer

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
    outputs: Outputs | None = None
    problem: str = ""


@dataclass(frozen=True)
class UnitRow:
    """What came of one unit: the prediction of all its images together, and the rows of these."""

    name: str
    images: tuple[Row, ...]
    prediction: Prediction | None = None
    outputs: Outputs | None = None

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
    """Streams predictions; every path from file to probability is the scorer's own."""

    def __init__(self, scorer: Scorer, *, batch_size: int = 32) -> None:
        self.scorer, self.batch_size = scorer, batch_size

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input, in order."""
        stream = iter(inputs)
        while batch := list(islice(stream, self.batch_size)):
            yield from self._batch(batch)

    def _batch(self, inputs: list[Input]) -> list[Row]:
        problems: list[str] = []
        stored: list[StoredImage] = []
        for item in inputs:
            try:
                stored.append(item.source.stored(item.path, self.scorer.input_spec))
                problems.append("")
            except (PreprocessError, DataError) as error:
                problems.append(str(error))
        done: Iterator[tuple[Prediction, Outputs]] = iter(())
        if stored:
            outputs = self.scorer.outputs(np.stack(stored))
            done = iter(zip(self.scorer.read_out(outputs), outputs.rows(), strict=True))
        return [
            Row(item.name, problem=problem) if problem else Row(item.name, *next(done))
            for item, problem in zip(inputs, problems, strict=True)
        ]


def by_unit(scorer: Scorer, rows: Sequence[Row], units: Sequence[str | None]) -> list[UnitRow]:
    """One row a unit, in the order of their first images; an image without a unit is one by itself.

    The outputs of a unit's images are combined by the bundle's rule, then calibrated and decided upon as one.
    """
    names, _ = unit_names([row.name for row in rows], units)
    images: dict[str, list[Row]] = {}
    for name, row in zip(names, rows, strict=True):
        images.setdefault(name, []).append(row)
    return [_unit_row(scorer, name, tuple(own)) for name, own in images.items()]


def _unit_row(scorer: Scorer, name: str, images: tuple[Row, ...]) -> UnitRow:
    usable = [row.outputs for row in images if row.outputs]
    if not usable:
        return UnitRow(name, images)
    combined = scorer.combined(Outputs.stacked(usable))
    return UnitRow(name, images, scorer.read_out(combined)[0], combined)
