"""Predictor: one classifier over many inputs, in batches; one bad file never stops the rest."""

import glob
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from chiron.classifier import Classifier, Prediction
from chiron.core.errors import DataError, PreprocessError
from chiron.data.dataset import to_tensor
from chiron.data.image_names import is_image_name, unnamed_dicom
from chiron.data.source import ImageSource

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
        logits = self.classifier.logits(torch.stack(pixels)) if pixels else torch.empty(0, 0)
        done = iter(zip(self.classifier.read_out(logits) if pixels else [], logits.cpu().tolist(), strict=True))
        rows = []
        for item, problem in zip(inputs, problems, strict=True):
            if problem:
                rows.append(Row(item.name, problem=problem))
            else:
                prediction, values = next(done)
                rows.append(Row(item.name, prediction, tuple(values)))
        return rows
