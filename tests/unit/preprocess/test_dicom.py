"""DICOM against pydicom's own road: decoder, apply_modality_lut, apply_voi_lut, color tables."""

import io
import warnings

import numpy as np
import pydicom
import pytest
from dicom_files import SECRETS, dicom_bytes, dicom_dataset, dicom_file, jpeg_lossless, lookup_table, with_frame
from PIL import Image
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from chiron.core.errors import PreprocessError
from chiron.preprocess import dicom
from chiron.preprocess.decode import decode_image


@pytest.fixture
def gray(random):
    return random.integers(0, 256, (40, 43), dtype=np.uint8)


@pytest.fixture
def deep(random):
    """12 bits in 16."""
    return random.integers(0, 4096, (40, 43), dtype=np.uint16)


@pytest.fixture
def color(random):
    return np.kron(random.integers(0, 256, (20, 22, 3), dtype=np.uint8), np.ones((2, 2, 1), np.uint8))


def scaled(shares: np.ndarray, most: int) -> np.ndarray:
    return np.rint(np.clip(shares, 0, 1) * most).astype(np.uint8 if most == 255 else np.uint16)


def by_pydicom(data: bytes, black: float, white: float, most: int = 65535) -> np.ndarray:
    """pydicom's steps, and the range that they end in."""
    read = pydicom.dcmread(io.BytesIO(data))
    shown = apply_voi_lut(apply_modality_lut(read.pixel_array, read), read)
    return scaled((shown.astype(float) - black) / (white - black), most)[..., None]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_without_a_window_the_stored_bits_are_the_range(random, bits, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = random.integers(low, high + 1, (9, 11)).astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    values[0, :2] = low, high
    data = dicom_file(values, bits_stored=bits)
    got = decode_image(data)
    assert (got[0, 0, 0], got[0, 1, 0]) == (0, 255 if bits == 8 else 65535)
    np.testing.assert_array_equal(got, by_pydicom(data, low, high, 255 if bits == 8 else 65535))


def test_monochrome1_is_inverted(gray, deep):
    np.testing.assert_array_equal(decode_image(dicom_file(gray, kind="MONOCHROME1"))[..., 0], 255 - gray)
    inverted = decode_image(dicom_file(deep, bits_stored=12, kind="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, 65535 - decode_image(dicom_file(deep, bits_stored=12)))


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (2.5, 10), (-1, 4095)])
def test_window_and_rescaling(deep, function, slope, intercept):
    how = {"WindowCenter": slope * 1500 + intercept, "WindowWidth": 900}
    how |= {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    data = dicom_file(deep, bits_stored=12, **how, **({"VOILUTFunction": function} if function else {}))
    np.testing.assert_array_equal(decode_image(data), by_pydicom(data, intercept, 4095 * slope + intercept))
    assert len(np.unique(decode_image(data))) > 20


def test_signed_values_with_a_window(random):
    values = random.integers(-2048, 2048, (9, 11)).astype(np.int16)
    how = {"WindowCenter": -1000, "WindowWidth": 400, "RescaleSlope": 1, "RescaleIntercept": -24}
    data = dicom_file(values, bits_stored=12, **how)
    np.testing.assert_array_equal(decode_image(data), by_pydicom(data, -2048 - 24, 2047 - 24))


def test_the_first_of_several_windows_counts(deep):
    several = dicom_file(deep, bits_stored=12, WindowCenter=[2000, 40], WindowWidth=[800, 400])
    one = dicom_file(deep, bits_stored=12, WindowCenter=2000, WindowWidth=800)
    np.testing.assert_array_equal(decode_image(several), decode_image(one))


def test_lookup_tables(deep, random):
    curve = sorted(random.integers(0, 65536, 4096).tolist())
    modality = {"ModalityLUTSequence": [lookup_table(curve)]}
    plain = dicom_file(deep, bits_stored=12, **modality)
    np.testing.assert_array_equal(decode_image(plain), by_pydicom(plain, 0, 65535))
    windowed = dicom_file(deep, bits_stored=12, WindowCenter=30000, WindowWidth=9000, **modality)
    np.testing.assert_array_equal(decode_image(windowed), by_pydicom(windowed, 0, 65535))
    short = {"VOILUTSequence": [lookup_table(curve[:500], first=1000, bits=16)]}
    voi = dicom_file(deep, bits_stored=12, WindowCenter=1, WindowWidth=9, **short)  # the table comes before the window
    np.testing.assert_array_equal(decode_image(voi), by_pydicom(voi, 0, 65535))


def test_a_long_table_of_eight_bits(deep):
    """Reference: the table itself; pydicom's function wraps round at 256 places."""
    curve = [place // 16 for place in range(4096)]
    data = dicom_file(deep, bits_stored=12, VOILUTSequence=[lookup_table(curve, bits=8)])
    np.testing.assert_array_equal(decode_image(data)[..., 0], scaled(deep // 16 / 255, 65535))


def test_rescaled_values_without_a_window_are_refused(deep):
    with pytest.raises(PreprocessError, match=r"must say which of them are shown. Got no window in ct\.dcm"):
        decode_image(dicom_file(deep, RescaleSlope=1, RescaleIntercept=-1024), "ct.dcm")
    np.testing.assert_array_equal(decode_image(dicom_file(deep, RescaleSlope=1, RescaleIntercept=0))[..., 0], deep)


@pytest.mark.parametrize("how", [{"WindowWidth": 0}, {"WindowWidth": -5}, {"VOILUTFunction": "CUBIC"}])
def test_a_window_that_is_none_is_refused(deep, how):
    with pytest.raises(PreprocessError, match="A window must have"):
        decode_image(dicom_file(deep, **{"WindowCenter": 5, "WindowWidth": 100} | how))


def test_color(color):
    np.testing.assert_array_equal(decode_image(dicom_file(color)), color)
    planar = dicom_file(
        color, PlanarConfiguration=1, PixelData=np.ascontiguousarray(color.transpose(2, 0, 1)).tobytes()
    )
    np.testing.assert_array_equal(decode_image(planar), color)
    sixteen = color.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(dicom_file(sixteen)), sixteen)
    ybr = dicom_file(color, kind="YBR_FULL")
    np.testing.assert_array_equal(decode_image(ybr), pydicom.dcmread(io.BytesIO(ybr)).pixel_array)
    assert (decode_image(ybr) != color).any()
    half = np.ascontiguousarray(np.stack([color[:, ::2, 0], color[:, 1::2, 0], color[:, ::2, 1], color[:, ::2, 2]], -1))
    subsampled = dicom_file(color, kind="YBR_FULL_422", PixelData=half.tobytes())
    np.testing.assert_array_equal(decode_image(subsampled), pydicom.dcmread(io.BytesIO(subsampled)).pixel_array)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(random, bits):
    places = random.integers(0, 256, (9, 11), dtype=np.uint8)
    how = {}
    for name in ("Red", "Green", "Blue"):
        table = random.integers(0, 2**bits, 256)
        how[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        how[f"{name}PaletteColorLookupTableData"] = table.astype("u1" if bits == 8 else "<u2").tobytes()
    data = dicom_file(places, kind="PALETTE COLOR", **how)
    got, read = decode_image(data), pydicom.dcmread(io.BytesIO(data))
    assert got.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(got, apply_color_lut(read.pixel_array, read))


def compressed(pixels: np.ndarray, syntax: str, **how) -> bytes:
    made = dicom_dataset(pixels, **how)
    made.compress(syntax, generate_instance_uid=False)
    return dicom_bytes(made)


def lossless(pixels: np.ndarray, bits: int) -> bytes:
    frame = jpeg_lossless(pixels, bits)
    return dicom_bytes(with_frame(dicom_dataset(pixels, bits_stored=bits), frame, JPEGLosslessSV1))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_files(deep, syntax):
    made = dicom_dataset(deep)
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        made.PixelData = deep.astype(">u2").tobytes()
    how = (
        {"little_endian": False, "implicit_vr": False, "force_encoding": True} if syntax == ExplicitVRBigEndian else {}
    )
    np.testing.assert_array_equal(decode_image(dicom_bytes(made, **how))[..., 0], deep)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression(gray, deep, color, syntax):
    np.testing.assert_array_equal(decode_image(compressed(gray, syntax))[..., 0], gray)
    np.testing.assert_array_equal(decode_image(compressed(color, syntax)), color)
    twelve = compressed(deep, syntax, bits_stored=12)
    np.testing.assert_array_equal(decode_image(twelve), decode_image(dicom_file(deep, bits_stored=12)))


def test_lossy_compression_and_reversible_color(color, gray):
    near = compressed(gray, JPEGLSNearLossless)
    np.testing.assert_array_equal(decode_image(near), pydicom.dcmread(io.BytesIO(near)).pixel_array[..., None])
    made = dicom_dataset(color)
    made.PhotometricInterpretation = "YBR_RCT"
    made.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    np.testing.assert_array_equal(decode_image(dicom_bytes(made)), color)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_baseline(gray, color, mode):
    pixels = gray if mode == "L" else color
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    made = dicom_dataset(pixels, kind="MONOCHROME2" if mode == "L" else "YBR_FULL_422")
    got = decode_image(dicom_bytes(with_frame(made, stream.getvalue(), JPEGBaseline8Bit)))
    plain = decode_image(stream.getvalue())
    assert got.shape == plain.shape
    assert np.abs(got.astype(int) - plain).max() <= (0 if mode == "L" else 1)  # pydicom and libjpeg round YBR to RGB


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless(random, bits):
    pixels = random.integers(0, 2**bits, (40, 44)).astype(np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(
        decode_image(lossless(pixels, bits)), decode_image(dicom_file(pixels, bits_stored=bits))
    )


def test_only_named_plugins_unpack():
    """pylibjpeg would use the GPL's libjpeg for what is left to it; JPEG never is."""
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless):
        assert dicom._PLUGINS[syntax] in ("pillow", "gdcm", "pyjpegls")


def test_old_files_without_a_mark_are_known_by_their_name(deep):
    made = dicom_dataset(deep)
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data = dicom_bytes(made)
    bare = data[data.index(b"\x08\x00\x16\x00") :]
    np.testing.assert_array_equal(decode_image(bare, "old.dcm")[..., 0], deep)
    with pytest.raises(PreprocessError, match="must be a JPEG"):
        decode_image(bare, "old")


def test_what_holds_no_single_image_is_refused(gray):
    empty = dicom_dataset(gray)
    del empty.PixelData
    three = dicom_dataset(gray, NumberOfFrames=3, PixelData=gray.tobytes() * 3)
    deeper = dicom_dataset(gray.astype(np.uint32), bits_stored=32)
    video = with_frame(dicom_dataset(gray), b"\0\0\1\xb3", MPEG2MPML)
    cmyk = dicom_dataset(gray, SamplesPerPixel=4, kind="CMYK")
    for made, message in (
        (empty, "must hold an image. Got none in x"),
        (three, "must hold one frame. Got 3 in x"),
        (deeper, r"1 or 3 samples a pixel of 1 to 16 bits. Got 1 of 32"),
        (video, "Got another transfer syntax in x"),
        (cmyk, "Got 4 of 8"),
    ):
        with pytest.raises(PreprocessError, match=message):
            decode_image(dicom_bytes(made), "x")
    with pytest.raises(PreprocessError, match=r"must hold an image|damaged DICOM"):
        decode_image(b"hello, I am text" * 20, "x.dcm")


def test_absurd_sizes_are_refused_before_memory_is_taken(gray, deep):
    with pytest.raises(PreprocessError, match="at most 178,956,970 pixels"):
        decode_image(dicom_file(gray, Rows=65535, Columns=65535))
    liar = compressed(deep, JPEG2000Lossless)
    place = liar.index(b"\xff\x4f\xff\x51") + 8
    huge = liar[:place] + b"\x00\x01\x00\x00" * 2 + liar[place + 8 :]
    with pytest.raises(PreprocessError, match="of another size than the header says"):
        decode_image(huge)


def test_a_deflated_bomb_is_refused(gray, monkeypatch):
    monkeypatch.setattr("chiron.preprocess.dicom_file._MOST_INFLATED", 4 << 20)
    made = dicom_dataset(np.zeros((3000, 3000), np.uint8))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(PreprocessError, match="deflated DICOM file must unpack to at most 4 MiB"):
        decode_image(dicom_bytes(made))


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
        JPEGLSLossless,
        JPEGLosslessSV1,
        JPEGBaseline8Bit,
    ],
)
def test_truncated_files_are_refused(random, syntax, kept):
    pixels = random.integers(0, 256, (64, 64), dtype=np.uint8)
    made = dicom_dataset(pixels)
    if syntax == JPEGLosslessSV1:
        data = lossless(pixels, 8)
    elif syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG")
        data = dicom_bytes(with_frame(made, stream.getvalue(), JPEGBaseline8Bit))
    elif syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        made.file_meta.TransferSyntaxUID = syntax
        data = dicom_bytes(made)
    else:
        data = compressed(pixels, syntax)
    with pytest.raises(PreprocessError, match=r"scan\.dcm"):
        decode_image(data[: int(len(data) * kept)], "scan.dcm")


def test_a_message_or_warning_never_holds_what_the_file_says(gray):
    made = dicom_dataset(gray, WindowCenter=1, WindowWidth=0)
    data = dicom_bytes(made)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for kept in range(100, len(data), 37):
            with pytest.raises(PreprocessError) as caught:
                decode_image(data[:kept], "scan.dcm")
            assert not [secret for secret in SECRETS if secret in str(caught.value)]
            assert caught.value.__cause__ is None
    assert not seen


def test_lossy_jpeg_of_twelve_bits_is_refused(deep):
    made = with_frame(dicom_dataset(deep, bits_stored=12), b"\xff\xd8\xff\xc1", JPEGExtended12Bit)
    with pytest.raises(PreprocessError, match=r"must have 8 bits, or be compressed without loss. Got 12 bits in x"):
        decode_image(dicom_bytes(made), "x")


def test_damage_that_ended_the_process_or_hung_is_refused(random):
    """Found by `benchmarks/fuzz_decoders.py`: gdcm aborts, CharLS searches for seconds, the RLE plug-in panics."""
    pixels = random.integers(0, 256, (40, 44), dtype=np.uint8)
    frame = jpeg_lossless(pixels, 8)
    jls, rle = compressed(pixels, JPEGLSLossless), compressed(pixels.astype(np.uint16), RLELossless)
    start = rle.index(b"\x02\x00\x00\x00\x40\x00\x00\x00") + 64
    for broken in (
        dicom_bytes(with_frame(dicom_dataset(pixels), frame[:-1] + b"\xff", JPEGLosslessSV1)),
        dicom_bytes(with_frame(dicom_dataset(pixels), frame.replace(b"\xff\xc4", b"\xd0\xfe", 1), JPEGLosslessSV1)),
        jls[: jls.rindex(b"\xff\xd9")] + b"\x01" + jls[jls.rindex(b"\xff\xd9") + 1 :],
        rle[:start] + b"\x81\x07" * 300 + rle[start + 600 :],
    ):
        with pytest.raises(PreprocessError, match="must decode completely"):
            decode_image(broken)


@pytest.mark.parametrize(
    ("slope", "intercept", "nearest"),
    [(0.4, 0, [0, 0, 1, 1, 2, 2]), (0.6, 0, [0, 1, 1, 2, 2, 3]), (-0.6, 5, [5, 4, 4, 3, 3, 2])],
)
def test_rescaled_values_take_the_nearest_entry_of_a_table(slope, intercept, nearest):
    """Reference: a table made by hand; 3 * 0.6 = 1.8 stands for entry 2."""
    table = [100, 1, 70, 9, 250, 30]
    values = np.array([[0, 1, 2, 3, 4, 5]], np.uint8)
    how = {"RescaleSlope": slope, "RescaleIntercept": intercept, "VOILUTSequence": [lookup_table(table, bits=8)]}
    expected = [table[entry] for entry in nearest]
    np.testing.assert_array_equal(decode_image(dicom_file(values, **how))[0, :, 0], expected)
