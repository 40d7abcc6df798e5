"""Hashes of pixels: the same on every machine, different for every difference that matters."""

import hashlib

import numpy as np

from chiron.data.identity import pixels_hash


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
