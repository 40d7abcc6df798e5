"""torchvision's decoder and Pillow: the same pixels and the same verdict, on whole and on damaged JPEGs."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch  # noqa: F401  (the fast decoder is used where torch is loaded)
from PIL import Image

from chiron.core.errors import PreprocessError
from chiron.preprocess import picture
from chiron.preprocess.decode import decode_image
from chiron.preprocess.jpeg import fast_jpeg

KINDS = {
    "plain": {},
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "gray": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "exif": {"orientation": 6},
}


def jpeg(mode: str = "RGB", orientation: int | None = None, size: tuple[int, int] = (61, 47), **options) -> bytes:
    draws = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(draws).resize(size, Image.Resampling.BICUBIC).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(data: bytes, monkeypatch) -> np.ndarray | None:
    with monkeypatch.context() as patched:
        patched.setattr(picture, "fast_jpeg", lambda *_: None)
        return decoded(data)


def decoded(data: bytes) -> np.ndarray | None:
    try:
        return decode_image(data)
    except PreprocessError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files(monkeypatch, kind):
    data = jpeg(**KINDS[kind])
    np.testing.assert_array_equal(decode_image(data), by_pillow(data, monkeypatch))
    mode = KINDS[kind].get("mode", "RGB")
    assert (fast_jpeg(data, (61, 47), mode) is None) == (kind == "cmyk")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(monkeypatch, kind):
    """Cut, changed and longer files: refused by both or by none, and what is accepted has the same pixels."""
    data, draws = jpeg(**KINDS[kind]), np.random.default_rng(1)
    refused = 0
    for count in range(150):
        broken = bytearray(data)
        place = int(draws.integers(len(broken)))
        if count % 3 == 0:
            broken = broken[:place] if count % 2 else broken[: -1 - place % 6]
        elif count % 3 == 1:
            broken[place] = draws.integers(256)
        else:
            broken[place:place] = draws.bytes(3)
        ours, reference = decoded(bytes(broken)), by_pillow(bytes(broken), monkeypatch)
        assert (ours is None) == (reference is None)
        if ours is not None:
            np.testing.assert_array_equal(ours, reference)
        refused += ours is None
    assert 0 < refused < 150


def test_another_size_than_the_header_says_is_left_to_pillow():
    assert fast_jpeg(jpeg(), (60, 47), "RGB") is None


def test_without_torch_pillow_decodes(tmp_path):
    """Reading images loads no torch, and gives the same pixels without it."""
    (tmp_path / "x.jpg").write_bytes(jpeg())
    script = (
        "import sys; from chiron.preprocess.decode import decode_image; from chiron.core.hashing import sha256_bytes; "
        f"print(sha256_bytes(decode_image(open({str(tmp_path / 'x.jpg')!r}, 'rb').read()).tobytes()), "
        "'torch' in sys.modules, 'pydicom' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    from chiron.core.hashing import sha256_bytes

    assert told == [sha256_bytes(decode_image(jpeg()).tobytes()), "False", "False"]


def photo(width: int = 900, height: int = 700) -> bytes:
    return jpeg(size=(width, height), quality=92)


def test_scaled_decoding_keeps_twice_the_size_that_is_asked_for():
    full, scaled = decode_image(photo()), decode_image(photo(), min_side=160)
    assert full.shape == (700, 900, 3)
    assert scaled.shape == (175, 225, 3)  # a quarter; an eighth would be less than 160
    assert decode_image(photo(), min_side=701).shape == full.shape
    assert decode_image(jpeg(orientation=6, size=(900, 700)), min_side=160).shape == (225, 175, 3)
    png = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(png, "PNG")
    assert decode_image(png.getvalue(), min_side=160).shape == full.shape
