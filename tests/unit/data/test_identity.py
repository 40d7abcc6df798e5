"""Hashes of pixels: the same on every machine, different for every difference that matters."""

import hashlib

import numpy as np
import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.identity import LabelConflict, label_conflicts, pixels_hash, require_one_label


def test_pixels_hash_is_sha256_over_shape_type_and_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert pixels_hash(image) == hashlib.sha256(b"(2, 2, 3)uint8" + bytes(range(12))).hexdigest()
    deep = np.array([[[258]]], dtype=np.uint16)
    assert pixels_hash(deep) == hashlib.sha256(b"(1, 1, 1)uint16" + b"\x02\x01").hexdigest()


def test_pixels_hash_tells_shape_type_and_order_apart():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    others = [image.reshape(2, 6, 1), image.reshape(4, 1, 3), image.astype(np.uint16), image[::-1], image[..., ::-1]]
    assert len({pixels_hash(image), *map(pixels_hash, others)}) == 6
    assert pixels_hash(image[::-1]) == pixels_hash(image[::-1].copy())  # memory layout does not count
    assert pixels_hash(image.astype(">u2")) == pixels_hash(image.astype("<u2"))


def test_the_same_picture_has_one_hash_in_gray_and_rgb_in_8_and_16_bits():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    deep = gray.astype(np.uint16) * 257
    same: list[np.ndarray] = [gray, gray.repeat(3, axis=2), deep, deep.repeat(3, axis=2)]
    assert len({pixels_hash(image) for image in same}) == 1
    for place in ((0, 0, 2), (15, 15, 1)):  # one value that differs, in the first row or the last
        colored, deeper = gray.repeat(3, axis=2), deep.copy()
        colored[place] ^= 1
        deeper[place[0], place[1], 0] ^= 1
        assert len({pixels_hash(gray), pixels_hash(colored), pixels_hash(deeper)}) == 3


def test_a_conflict_of_many_images_is_told_with_five_and_every_label():
    images = (*[(f"a/{k}.png", "a") for k in range(9)], ("b/1.png", "b"))
    conflict = LabelConflict(images)
    assert conflict.brief() == "a/0.png (a) = a/1.png (a) = a/2.png (a) = a/3.png (a) = b/1.png (b) and 5 more"
    assert str(conflict).count("=") == 9
    assert LabelConflict(images[:5]).brief() == str(LabelConflict(images[:5]))
    frame = pl.DataFrame(images, schema=["path", "label"], orient="row").with_columns(pixels_sha256=pl.lit("1"))
    with pytest.raises(DataError, match=r"a/3\.png \(a\) = b/1\.png \(b\) and 5 more\. Correct"):
        require_one_label(frame)


def test_columns_called_like_labels_are_no_labels_beside_a_label():
    frame = pl.DataFrame(
        {"path": ["a", "b"], "label": ["x", "x"], "label_source": ["1", "2"], "pixels_sha256": ["1"] * 2}
    )
    assert label_conflicts(frame) == []
