import io
import struct
import zlib

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


def tiff(pixels: np.ndarray, *, photometric: int, planar: int = 1) -> bytes:
    """An uncompressed little-endian TIFF, written out, because Pillow writes only some kinds. Source: TIFF 6.0."""
    height, width, channels = pixels.shape
    planes = [pixels] if planar == 1 else [pixels[..., k] for k in range(channels)]
    strips = [np.ascontiguousarray(plane).astype(plane.dtype.newbyteorder("<")).tobytes() for plane in planes]
    starts = [8 + sum(map(len, strips[:k])) for k in range(len(strips))]
    values = {256: [width], 257: [height], 258: [8 * pixels.dtype.itemsize] * channels, 259: [1], 262: [photometric]}
    values |= {273: starts, 277: [channels], 278: [height], 279: list(map(len, strips)), 284: [planar]}
    directory, after = [], b""
    base = 8 + sum(map(len, strips)) + 2 + 12 * len(values) + 4
    for tag, numbers in sorted(values.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")  # LONG and SHORT
        packed = b"".join(struct.pack(f"<{letter}", number) for number in numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", base + len(after))
        after += packed if len(packed) > 4 else b""
        directory.append(struct.pack("<HHI", tag, kind, len(numbers)) + place)
    head = b"II*\0" + struct.pack("<I", 8 + sum(map(len, strips)))
    return head + b"".join(strips) + struct.pack("<H", len(values)) + b"".join(directory) + bytes(4) + after


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_with_white_as_zero_is_inverted(random, dtype):
    gray = random.integers(0, np.iinfo(dtype).max + 1, (10, 12, 1)).astype(dtype)
    np.testing.assert_array_equal(decode_image(tiff(gray, photometric=1)), gray)
    np.testing.assert_array_equal(decode_image(tiff(gray, photometric=0)), np.iinfo(dtype).max - gray)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(rgb, random, compression):
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(rgb), "TIFF", compression=compression)), rgb)
    deep = random.integers(0, 65536, (20, 30), dtype=np.uint16)
    data = encoded(Image.fromarray(deep), "TIFF", compression=compression)
    np.testing.assert_array_equal(decode_image(data)[..., 0], deep)


def test_sixteen_bit_color_in_a_tiff(random, rgb):
    deep = random.integers(0, 65536, (8, 10, 3), dtype=np.uint16)
    for options in ([cv2.IMWRITE_TIFF_COMPRESSION, 1], [cv2.IMWRITE_TIFF_COMPRESSION, 5]):  # none, LZW
        data = cv2.imencode(".tiff", deep[..., ::-1], options)[1].tobytes()
        np.testing.assert_array_equal(decode_image(data), deep)
    np.testing.assert_array_equal(decode_image(tiff(rgb, photometric=2, planar=2)), rgb)
    with pytest.raises(PreprocessError, match=r"8 bits a channel, or 16 bits in one plane. Got 16 bits in separate"):
        decode_image(tiff(deep, photometric=2, planar=2))


def test_sixteen_bit_gray_with_alpha_keeps_its_bits(random):
    deep = random.integers(0, 65536, (8, 9, 2), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 9, 8, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts]
    np.testing.assert_array_equal(decode_image(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)), deep[..., :1])


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_sixteen_bit_color_is_refused(random, kept):
    """OpenCV alone would fill the rest with black."""
    data = cv2.imencode(".png", random.integers(0, 65536, (64, 64, 3), dtype=np.uint16))[1].tobytes()
    with pytest.raises(PreprocessError):
        decode_image(data[: int(len(data) * kept)])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_as_pillow_does_it(rgb, kind):
    data = encoded(Image.fromarray(rgb).convert("CMYK"), kind)
    np.testing.assert_array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_one_bit_and_transparent_palettes(rgb):
    black_and_white = Image.fromarray(rgb).convert("1")
    got = decode_image(encoded(black_and_white, "PNG"))
    np.testing.assert_array_equal(got[..., 0], np.asarray(black_and_white) * np.uint8(255))
    palette = Image.fromarray(rgb).quantize(16)
    plain = decode_image(encoded(palette, "PNG"))
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG", transparency=3)), plain)
    with_alpha = Image.merge("LA", [Image.fromarray(rgb[..., k].copy()) for k in (0, 1)])
    np.testing.assert_array_equal(decode_image(encoded(with_alpha, "PNG"))[..., 0], rgb[..., 0])


def test_floating_point_is_refused(rgb):
    with pytest.raises(PreprocessError, match="Got floating point in x"):
        decode_image(encoded(Image.fromarray(rgb[..., 0].astype(np.float32)), "TIFF"), "x")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_moving_pictures_are_refused(rgb, kind):
    frames = [Image.fromarray(np.roll(rgb, k, axis=0)) for k in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PreprocessError, match=r"must hold one frame. Got 3 in x"):
        decode_image(data, "x")


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO"])
def test_formats_that_are_not_named_are_not_tried(rgb, kind):
    """Pillow would start Ghostscript for an EPS."""
    with pytest.raises(PreprocessError, match="Got other content"):
        decode_image(encoded(Image.fromarray(rgb), kind))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_too_many_pixels_are_refused_in_every_format(rgb, kind, monkeypatch):
    monkeypatch.setattr("chiron.preprocess.canonical.MAX_PIXELS", 599)
    with pytest.raises(PreprocessError, match=r"at most 599 pixels. Got more in x: 30 x 20"):
        decode_image(encoded(Image.fromarray(rgb), kind), "x")


def test_arrays(rgb):
    np.testing.assert_array_equal(decode_array(rgb), rgb)
    assert decode_array(rgb[..., 0]).shape == (20, 30, 1)
    with pytest.raises(PreprocessError, match=r"uint8 or uint16 over the full range. Got float64"):
        decode_array(rgb / 255)
    with pytest.raises(PreprocessError, match=r"Got \(2, 20, 30, 3\)"):
        decode_array(np.stack([rgb, rgb]))
