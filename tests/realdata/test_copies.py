"""Copies planted among real dermoscopy are found, and one known pair of a public test set is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from chiron.data.copies.find import find_copies
from chiron.data.copies.thumbnail import thumbnail
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.preprocess.decode import decode_image

pytestmark = pytest.mark.realdata
KINDS = {
    "reencoded": (lambda image: image, 40, "upright"),
    "small": (lambda image: image.resize((100, 75)), 90, "upright"),
    "brighter": (lambda image: image.point(lambda value: min(255, value * 1.2)), 90, "upright"),
    "mirrored": (ImageOps.mirror, 90, "mirrored"),
    "turned": (lambda image: image.rotate(90, expand=True), 90, "rotated 270"),
    "cropped": (lambda image: image.crop((5, 12, 185, 147)), 90, "upright"),
}


@pytest.fixture(autouse=True)
def read_without_a_search(monkeypatch):
    """The search is made here, among other images than those of the folder."""
    monkeypatch.setattr("chiron.data.reading.search_copies", lambda *_: ())


def pixels_of(folder):
    manifest = read_dataset(folder)
    images = ImageSource(manifest.root)
    frame = manifest.frame.sort("sample_id").head(1500)
    return frame, [images.decode(path) for path in frame["path"]]


def found_in(ids, images):
    return find_copies(ids, np.stack([thumbnail(image) for image in images]), images.__getitem__)


def test_copies_planted_among_ham10000_are_confirmed(real_data):
    frame, images = pixels_of(real_data / "ham10000_200x150.zip")
    ids, group = frame["sample_id"].to_list(), dict(zip(frame["sample_id"], frame["group_id"], strict=True))
    expected = {}
    for place in range(60):
        row, (name, (change, quality, view)) = place * 25, list(KINDS.items())[place % len(KINDS)]
        file = io.BytesIO()
        change(Image.fromarray(images[row])).save(file, "JPEG", quality=quality)
        images.append(decode_image(file.getvalue()))
        ids.append(f"planted {name} {place}")
        group[ids[-1]] = group[ids[row]]
        expected[ids[row], ids[-1]] = view
    found = {pair.sample_ids: pair for pair in found_in(ids, images)}
    confirmed = {ids: pair.view for ids, pair in found.items() if pair.confirmed}
    assert sum(confirmed.get(ids) == view for ids, view in expected.items()) >= 58
    assert sum(group[a] != group[b] for a, b in confirmed) <= 2
    assert len(found) - len(confirmed) <= 0.02 * len(ids) + 1


def test_the_two_equal_nevi_of_isic_2018_are_confirmed(real_data):
    frame, images = pixels_of(real_data / "isic2018_test_subset")
    found = {pair.sample_ids: pair for pair in found_in(frame["sample_id"].to_list(), images)}
    assert found["ISIC_0034921", "ISIC_0035597"].confirmed
