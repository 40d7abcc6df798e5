"""Predictor: one scorer over many inputs, in batches; one bad file never stops the rest.

Files are decoded by threads a few batches ahead of the networks, so that neither waits for the other; what is held at
a time does not grow with the number of inputs, but for their names.
"""

import glob
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from chiron.core.errors import DataError, PreprocessError
from chiron.data.image_names import is_image_name, unnamed_dicom
from chiron.data.source import ImageSource
from chiron.data.units import unit_names
from chiron.experience import experience_with
from chiron.prediction import Prediction
from chiron.preprocess.canonical import CanonicalImage
from chiron.scorer import ImageLike, Opened, Outputs, Scorer, decode_any
from chiron.spec.decision import Tta
from chiron.spec.input_spec import InputSpec

log = logging.getLogger("chiron.predict")
MOST_DECODERS = 16
_BATCHES_AHEAD = 2  # that are decoded while one is scored


@dataclass(frozen=True)
class Input:
    """One image to be predicted: how to call it and where its bytes are."""

    name: str
    source: ImageSource
    path: str

    def decode(self, spec: InputSpec) -> CanonicalImage:
        """Its canonical array."""
        return self.source.decode(self.path, min_side=spec.decode_min_side)


@dataclass(frozen=True)
class Given:
    """One image that is at hand, and how to call it."""

    name: str
    image: ImageLike

    def decode(self, spec: InputSpec) -> CanonicalImage:
        """Its canonical array."""
        return decode_any(self.image, min_side=spec.decode_min_side)


@dataclass(frozen=True)
class Row:
    """What came of one input: a prediction with its logits, or the sentence why there is none.

    `problem` is empty where there is a prediction; its `referral` may name problems all the same. `experience` tells
    how often test cases with such an output were right, see `chiron.experience`.
    """

    name: str
    prediction: Prediction | None = None
    outputs: Outputs | None = None
    experience: tuple[dict[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class UnitRow:
    """What came of one unit: the prediction of all its images together, and the rows of these."""

    name: str
    images: tuple[Row, ...]
    prediction: Prediction | None = None
    outputs: Outputs | None = None
    experience: tuple[dict[str, Any], ...] = ()

    @property
    def num_images(self) -> int:
        """Images that the prediction was made of."""
        return sum(row.prediction is not None for row in self.images)

    @property
    def problem(self) -> str:
        """Why there is no prediction."""
        return "" if self.prediction else f"none of its {len(self.images)} images can be used"


@dataclass(frozen=True)
class Found:
    """The images in one place: their names there, and what stands before each when it is told."""

    source: ImageSource
    names: Sequence[str]
    prefix: str

    def __iter__(self) -> Iterator[Input]:
        for name in self.names:
            yield Input(self.prefix + name, self.source, name)


class Inputs:
    """Images in order. Of a million files only the names are held: each Input is made when it is asked for."""

    def __init__(self, parts: Sequence[Found | Given]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(1 if isinstance(part, Given) else len(part.names) for part in self.parts)

    def __iter__(self) -> Iterator[Input | Given]:
        for part in self.parts:
            if isinstance(part, Given):
                yield part
            else:
                yield from part

    def files(self) -> Iterator[Input]:
        """Those that lie somewhere."""
        return (item for item in self if isinstance(item, Input))


def find_inputs(given: ImageLike | Iterable[ImageLike]) -> Inputs:
    """The images behind files, folders (recursive), glob patterns and zips, sorted within each; and images at hand.

    Args:
        given: one or several of: path or pattern, bytes of a file, Pillow image, array, tensor. Those without a name
            are called `image_0`, `image_1`, ... by their place.
    Raises:
        DataError: a path does not exist, or a folder, pattern or zip holds no image.
    """
    several = given if isinstance(given, list | tuple) or _is_stream(given) else [given]
    parts: list[Found | Given] = []
    for place, one in enumerate(several):
        if isinstance(one, str | Path):
            parts += _at(one)
        else:
            parts.append(Given(f"image_{place}", one))
    return Inputs(_each_once(parts) if len(parts) > 1 else parts)


def _is_stream(given: Any) -> bool:
    """Whether this is several things; an array, a tensor and bytes are iterable too, and are one image."""
    return isinstance(given, Iterable) and not isinstance(given, str | bytes) and not hasattr(given, "shape")


def _at(given: str | Path) -> list[Found]:
    path = Path(given)
    if path.is_dir() or path.suffix.lower() in {".zip", ".npz"}:
        found = [_inside(path)]
    elif path.is_file():
        found = [_beside([path])]
    else:
        matches = (Path(match) for match in glob.glob(str(given), recursive=True))
        folders: dict[Path, list[Path]] = {}
        for match in sorted(it for it in matches if it.is_file()):
            folders.setdefault(match.parent, []).append(match)
        found = [_beside(files) for files in folders.values()]
    if not any(part.names for part in found):
        what = "at least one image" if path.exists() else "a file, folder, pattern or zip that exists"
        raise DataError(f"An input must be {what}. Got {given}. Check the path.")
    return found


def _beside(files: list[Path]) -> Found:
    """Files of one folder, as they were named."""
    return Found(ImageSource(files[0].parent), [file.name for file in files], str(files[0])[: -len(files[0].name)])


def _inside(path: Path) -> Found:
    source = ImageSource(path)
    names = source.names()
    unnamed = unnamed_dicom(source, names)
    images = [name for name in names if source.is_npz or is_image_name(name) or name in unnamed]
    if len(images) < len(names):
        log.warning("%d files in %s are no images by their name and are skipped", len(names) - len(images), path)
    return Found(source, images, f"{path}/")


def _each_once(parts: Sequence[Found | Given]) -> list[Found | Given]:
    """A file that is named twice counts once."""
    seen: set[str] = set()
    kept: list[Found | Given] = []
    for part in parts:
        if isinstance(part, Given):
            kept.append(part)
            continue
        names = [name for name in part.names if part.prefix + name not in seen]
        seen.update(part.prefix + name for name in names)
        kept.append(Found(part.source, names, part.prefix))
    return kept


class Predictor:
    """Streams predictions; every path from file to probability is the scorer's own."""

    def __init__(self, scorer: Scorer, *, batch_size: int = 32, tta: Tta = "none") -> None:
        self.scorer, self.batch_size, self.tta = scorer, batch_size, tta

    def rows(self, inputs: Iterable[Input | Given]) -> Iterator[Row]:
        """One row an input, in order."""
        for names, opened in self._opened(inputs):
            usable = [it for it in opened if isinstance(it, Opened)]
            done = iter(_read(self.scorer, self.scorer.outputs_of(usable, tta=self.tta)) if usable else [])
            for name, it in zip(names, opened, strict=True):
                yield Row(name, *next(done)) if isinstance(it, Opened) else Row(name, problem=it)

    def _opened(self, inputs: Iterable[Input | Given]) -> Iterator[tuple[list[str], list[Opened | str]]]:
        """Batches of names and of what can be scored, or why it cannot; the next ones are decoded meanwhile."""
        stream = iter(inputs)
        waiting: deque[tuple[str, Future[Opened | str]]] = deque()
        ahead = (_BATCHES_AHEAD + 1) * self.batch_size
        with ThreadPoolExecutor(min(MOST_DECODERS, os.cpu_count() or 1), "chiron-decode") as pool:

            def fill() -> None:
                for item in islice(stream, ahead - len(waiting)):
                    waiting.append((item.name, pool.submit(self._open, item)))

            try:
                fill()
                while waiting:
                    batch = [waiting.popleft() for _ in range(min(self.batch_size, len(waiting)))]
                    opened = [future.result() for _, future in batch]
                    fill()
                    yield [name for name, _ in batch], opened
            finally:
                pool.shutdown(cancel_futures=True)

    def _open(self, item: Input | Given) -> Opened | str:
        try:
            return self.scorer.open(item.decode(self.scorer.input_spec))
        except (PreprocessError, DataError) as error:
            return str(error)


def by_unit(scorer: Scorer, rows: Sequence[Row], units: Sequence[str | None]) -> list[UnitRow]:
    """One row a unit, in the order of their first images; an image without a unit is one by itself.

    The outputs of a unit's images are combined by the bundle's rule, then calibrated and decided upon as one.
    """
    names, _ = unit_names([row.name for row in rows], units)
    images: dict[str, list[Row]] = {}
    for name, row in zip(names, rows, strict=True):
        images.setdefault(name, []).append(replace(row, experience=()))  # test cases were units as well
    return [_unit_row(scorer, name, tuple(own)) for name, own in images.items()]


def _unit_row(scorer: Scorer, name: str, images: tuple[Row, ...]) -> UnitRow:
    usable = [row.outputs for row in images if row.outputs]
    if not usable:
        return UnitRow(name, images)
    return UnitRow(name, images, *_read(scorer, scorer.combined(Outputs.stacked(usable)))[0])


def _read(scorer: Scorer, outputs: Outputs) -> list[tuple[Prediction, Outputs, tuple[dict[str, Any], ...]]]:
    """What is said of each image or unit, what it was made of, and how often such an output was right."""
    said = scorer.read_out(outputs)
    return [(it, own, tuple(experience_with(scorer, it))) for it, own in zip(said, outputs.rows(), strict=True)]
