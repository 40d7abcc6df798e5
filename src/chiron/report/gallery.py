"""The failures: errors drawn at random beside the most confident ones, each with its picture where it can be had.

Random errors show what errors are like; the most confident ones show the worst. Neither is picked by hand.
"""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from PIL import Image

from chiron.core.errors import ChironError
from chiron.core.hashing import seed_of, sha256_bytes
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.source import ImageSource
from chiron.preprocess.decode import CanonicalImage

MOST_SHOWN = 12  # of each of the two kinds
SIDE_PX = 160
JPEG_QUALITY = 82  # about 5 kB a picture: 24 of them stay far below a megabyte


@dataclass(frozen=True)
class Failure:
    """One image whose model output differs from its reference label."""

    sample_id: str
    reference: str
    output: str
    probability: float  # of the model output
    reference_probability: float
    picture: str = ""  # data URI; empty where there is none


@dataclass(frozen=True)
class Gallery:
    """What is shown, out of how many."""

    num_errors: int
    num_images: int
    random: list[Failure] = field(default_factory=list)  # empty when all errors are shown as `confident`
    confident: list[Failure] = field(default_factory=list)
    has_source: bool = False  # whether it is known where the images lie
    num_missing: int = 0  # pictures that are gone or have changed
    unit: Literal["image", "label"] = "image"  # what is right or wrong, and counted in `num_images`


def make_gallery(predictions: Predictions, manifest: Manifest | None) -> Gallery:
    """The failures of the scored rows; with a manifest their pictures, if the images are still there and unchanged."""
    errors = _label_errors(predictions) if predictions.is_multi_label else _errors(predictions)
    confident = _confident(errors)[:MOST_SHOWN]
    drawn = sorted(errors, key=lambda error: (seed_of("gallery", error.sample_id), error.sample_id))[:MOST_SHOWN]
    random = drawn if len(errors) > MOST_SHOWN else []
    gallery = Gallery(len(errors), predictions.scored.height, random, confident)
    if predictions.is_multi_label:
        gallery = replace(gallery, num_images=int(np.count_nonzero(~np.isnan(predictions.y_true))), unit="label")
    if manifest is None:
        return gallery
    pictures = pictures_of(manifest, sorted({error.sample_id for error in (*random, *confident)}))
    return replace(
        gallery,
        random=[_with_picture(error, pictures) for error in random],
        confident=[_with_picture(error, pictures) for error in confident],
        has_source=True,
        num_missing=sum(not picture for picture in pictures.values()),
    )


def _errors(predictions: Predictions) -> list[Failure]:
    y_prob, y_true = predictions.y_prob, predictions.y_true
    y_pred = y_prob.argmax(axis=1)
    names = predictions.scored["sample_id"].cast(str).to_list()
    return [
        Failure(
            sample_id=names[row],
            reference=predictions.classes[y_true[row]],
            output=predictions.classes[y_pred[row]],
            probability=float(y_prob[row, y_pred[row]]),
            reference_probability=float(y_prob[row, y_true[row]]),
        )
        for row in np.flatnonzero(y_pred != y_true)
    ]


def _label_errors(predictions: Predictions) -> list[Failure]:
    """Assessed labels that were called wrongly at 0.5, image by image."""
    y_prob, y_true = predictions.y_prob, predictions.y_true
    names = predictions.scored["sample_id"].cast(str).to_list()
    found = []
    for row, k in np.argwhere(~np.isnan(y_true) & ((y_prob >= 0.5) != (y_true == 1))):
        said = (predictions.classes[k], f"no {predictions.classes[k]}")
        missed, probability = bool(y_true[row, k] == 1), float(y_prob[row, k])
        found.append(
            Failure(
                sample_id=names[row],
                reference=said[not missed],
                output=said[missed],
                probability=1 - probability if missed else probability,
                reference_probability=probability if missed else 1 - probability,
            )
        )
    return found


def _confident(errors: list[Failure]) -> list[Failure]:
    """The most confident error of each class first, then the second of each, and so on."""
    ranked = sorted(errors, key=lambda error: (-error.probability, error.sample_id))
    seen: dict[str, int] = {}
    rounds = []
    for error in ranked:
        seen[error.reference] = seen.get(error.reference, 0) + 1
        rounds.append(seen[error.reference])
    order = sorted(range(len(ranked)), key=lambda place: (rounds[place], place))
    return [ranked[place] for place in order]


def _with_picture(error: Failure, pictures: dict[str, str]) -> Failure:
    return replace(error, picture=pictures[error.sample_id])


def pictures_of(manifest: Manifest, sample_ids: Iterable[str]) -> dict[str, str]:
    """Data URI of every sample; empty where the image is gone, unknown to the manifest, or not the one it was."""
    source = ImageSource(manifest.root)
    rows = manifest.frame.select("sample_id", "path", "bytes_sha256").iter_rows()
    known = {sample_id: (path, digest) for sample_id, path, digest in rows}
    return {name: _picture(source, *known.get(name, ("", None))) for name in sample_ids}


def _picture(source: ImageSource, path: str, digest: str | None) -> str:
    if not path or digest is None:
        return ""
    try:
        if sha256_bytes(source.read_bytes(path)) != digest:
            return ""
        return thumbnail(source.decode(path))
    except (ChironError, OSError):  # a picture that cannot be had is told of, and is no reason to have no report
        return ""


def thumbnail(image: CanonicalImage) -> str:
    """A small JPEG as a data URI, made from pixels alone: nothing else of the file comes along.

    16-bit images are stretched to their own range, as many use a small part of it.
    """
    pixels = image
    if pixels.dtype != np.uint8:
        low, high = int(pixels.min()), int(pixels.max())
        pixels = ((pixels.astype(np.float32) - low) * (255 / max(high - low, 1))).round().astype(np.uint8)
    small = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
