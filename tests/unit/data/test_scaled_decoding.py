"""`input.decode: scaled`: close to the full decode, and one code for every way to an image."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chiron.classifier import Classifier
from chiron.data.dataset import StoredImages
from chiron.data.identity import identify, pixels_hash
from chiron.data.source import ImageSource
from chiron.models.create import create_model
from chiron.preprocess.resize import canonical_resize
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace

FULL = InputSpec(img_size=48, in_chans=3)
SCALED = InputSpec(img_size=48, in_chans=3, decode="scaled")


@pytest.fixture
def photo(tmp_path, random):
    """As smooth as a camera's picture, 700 x 500."""
    pixels = random.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((700, 500), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    image.save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


def test_scaled_is_close_to_full_and_not_equal(photo):
    source = ImageSource(photo.parent)
    full, scaled = (source.stored("photo.jpg", spec).astype(int) for spec in (FULL, SCALED))
    assert 0 < np.abs(full - scaled).mean() < 1.5
    assert np.abs(full - scaled).max() < 16


def test_every_way_to_an_image_scales_alike(photo):
    source = ImageSource(photo.parent)
    labels = LabelSpace(names=("a", "b"), positive="a")
    network = create_model("chiron_fair_cnn_nano", num_classes=2, in_chans=3, img_size=48, init="scratch", seed=0)
    classifier = Classifier(
        [network],
        network_spec=NetworkSpec(name="chiron_fair_cnn_nano", args={}),
        input_spec=SCALED,
        labels=labels,
    )
    expected = source.stored("photo.jpg", SCALED)
    np.testing.assert_array_equal(classifier.store(photo), expected)
    np.testing.assert_array_equal(classifier.store(photo.read_bytes()), expected)
    np.testing.assert_array_equal(StoredImages(source, ["photo.jpg"], SCALED).stored(0), expected)


def test_the_pixel_hash_is_of_the_full_decode(photo):
    import polars as pl

    source = ImageSource(photo.parent)
    frame = identify(source, pl.DataFrame({"path": ["photo.jpg"]})).frame
    assert frame["pixels_sha256"][0] == pixels_hash(source.decode("photo.jpg"))
    assert source.decode("photo.jpg").shape == (500, 700, 3)
    np.testing.assert_array_equal(canonical_resize(source.decode("photo.jpg"), FULL), source.stored("photo.jpg", FULL))
