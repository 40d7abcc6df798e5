"""Encoding and filler: every decoder reads the same picture, and the size says nothing of it."""

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chiron.data.phantoms.encoding import encode, pad, pad_all


def picture(color: bool, seed: int = 0, size: int = 24) -> np.ndarray:
    shape = (size, size, 3) if color else (size, size)
    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), (5, 5), 0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([".png", ".jpg"]), st.booleans(), st.one_of(st.integers(12, 40), st.integers(60_000, 200_000)))
def test_padded_files_have_the_asked_size_and_the_same_pixels(suffix, color, more):
    plain = encode(picture(color), suffix)
    padded = pad(plain, len(plain) + more)
    assert len(padded) == len(plain) + more
    np.testing.assert_array_equal(Image.open(io.BytesIO(padded)), Image.open(io.BytesIO(plain)))
    flag = cv2.IMREAD_UNCHANGED
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(padded, np.uint8), flag), cv2.imdecode(np.frombuffer(plain, np.uint8), flag)
    )


@pytest.mark.parametrize("more", range(65_530, 65_560))
def test_jpeg_comments_around_the_length_of_one_segment(more):
    plain = encode(picture(False), ".jpeg")
    padded = pad(plain, len(plain) + more)
    assert len(padded) == len(plain) + more
    Image.open(io.BytesIO(padded)).load()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_torchvision_reads_padded_files(suffix):
    import torch
    from torchvision.io import decode_image

    plain = encode(picture(True), suffix)
    read = [decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8)) for data in (plain, pad(plain, 9000))]
    assert torch.equal(*read)


def test_png_chunks_are_legal_and_jpeg_keeps_its_header_first():
    png = pad(encode(picture(True), ".png"), 5000)
    position, kinds = 8, []
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        kind, data = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        assert int.from_bytes(png[position + 8 + length : position + 12 + length]) == zlib.crc32(kind + data)
        kinds.append(kind)
        position += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-2:] == [b"paDd", b"IEND"]
    jpeg = pad(encode(picture(True), ".jpg"), 5000)
    assert jpeg[:4] == b"\xff\xd8\xff\xe0"
    with Image.open(io.BytesIO(jpeg)) as image:
        assert not image.getexif()
        assert not any(image.info["comment"])  # zeros alone


def test_sizes_are_drawn_by_name_and_not_by_content():
    pictures = [np.zeros((24, 24), np.uint8), picture(False), picture(True)]
    files = {f"{k}.png": encode(pictures[k % 3], ".png") for k in range(300)}
    padded = pad_all(files, "size", 0)
    sizes = np.array([len(padded[f"{k}.png"]) for k in range(300)])
    largest = max(map(len, files.values()))
    assert sizes.min() >= largest + 12
    assert sizes.max() <= 1.51 * (largest + 12)
    assert len(set(sizes)) > 200
    assert abs(np.mean(sizes[::3]) - np.mean(sizes[2::3])) < 0.06 * largest
    turned = {name: files[f"{(int(name[:-4]) + 1) % 300}.png"] for name in files}  # other contents, the same names
    assert [len(data) for data in pad_all(turned, "size", 0).values()] == list(sizes)
    assert pad_all(files, "size", 1) != padded


def test_color_images_keep_their_channel_order():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode(red, ".png")))), red)
