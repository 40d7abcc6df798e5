import io

import cv2
import numpy as np
import pytest
from PIL import Image

from chiron.core.errors import PreprocessError
from chiron.preprocess.decode import decode_array, decode_image, decode_pil


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def rgb(random):
    return random.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_color_is_exact(rgb, kind):
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(rgb), kind)), rgb)


def test_gray_stays_one_channel(rgb):
    gray = rgb[..., 0]
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(gray), "PNG")), gray[..., None])


def test_sixteen_bit_gray_keeps_its_bits(random):
    deep = random.integers(0, 65536, (20, 30), dtype=np.uint16)
    decoded = decode_image(encoded(Image.fromarray(deep), "PNG"))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded[..., 0], deep)


def test_sixteen_bit_color_keeps_its_bits_and_order(random):
    deep = random.integers(0, 65536, (8, 9, 3), dtype=np.uint16)
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(data), deep)
    with_alpha = np.dstack([deep[..., ::-1], np.full((8, 9), 65535, np.uint16)])
    np.testing.assert_array_equal(decode_image(cv2.imencode(".png", with_alpha)[1].tobytes()), deep)


def test_palette_becomes_rgb(rgb):
    palette = Image.fromarray(rgb).quantize(16)
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_alpha_is_dropped(rgb):
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(rgba), "PNG")), rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(rgb, orientation):
    """Reference: Pillow's exif_transpose on the decoded JPEG."""
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "JPEG", quality=95, exif=exif)
    plain = np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", quality=95))))
    turns = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.swapaxes(0, 1),
        6: np.rot90(plain, -1),
        7: plain[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(plain, 1),
    }
    np.testing.assert_array_equal(decode_image(data), turns[orientation])
    np.testing.assert_array_equal(decode_pil(Image.open(io.BytesIO(data))), turns[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_sixteen_bit_images(random, orientation):
    """The array path must turn as the 8-bit path does."""
    small = random.integers(0, 256, (4, 6), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    eight = decode_image(encoded(Image.fromarray(small), "PNG", exif=exif))
    sixteen = decode_image(encoded(Image.fromarray(small.astype(np.uint16) * 257), "PNG", exif=exif))
    np.testing.assert_array_equal(sixteen // 257, eight)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must not be empty. Got 0 bytes in scan.png"),
        (
            b"hello, I am text",
            "must be a JPEG, PNG, BMP, TIFF, WebP, GIF or DICOM image. Got other content in scan.png",
        ),
    ],
)
def test_not_an_image(data, message):
    with pytest.raises(PreprocessError, match=message):
        decode_image(data, "scan.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated_file_is_refused(random, kind, kept):
    data = encoded(Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    with pytest.raises(PreprocessError, match=r"scan\.x"):
        decode_image(data[: int(len(data) * kept)], "scan.x")


def test_several_frames_are_refused(rgb):
    frames = [Image.fromarray(rgb), Image.fromarray(rgb[::-1])]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(PreprocessError, match=r"must hold one frame. Got 2"):
        decode_image(data)


def test_decompression_bomb_is_refused_before_it_unpacks():
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(PreprocessError, match=r"at most 178,956,970 pixels. Got more in image"):
        decode_image(bomb)


def test_arrays(rgb):
    np.testing.assert_array_equal(decode_array(rgb), rgb)
    assert decode_array(rgb[..., 0]).shape == (20, 30, 1)
    with pytest.raises(PreprocessError, match=r"uint8 or uint16 over the full range. Got float64"):
        decode_array(rgb / 255)
    with pytest.raises(PreprocessError, match=r"Got \(2, 20, 30, 3\)"):
        decode_array(np.stack([rgb, rgb]))
