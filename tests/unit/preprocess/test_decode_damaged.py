"""Damaged files of every format: an image or one clear error, never anything else; see benchmarks/fuzz_decoders.py."""

import io

import numpy as np
import pytest
from dicom_files import dicom_bytes, dicom_dataset, jpeg_lossless, with_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from chiron.core.errors import PreprocessError
from chiron.preprocess.decode import decode_image

COLOR = np.kron(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
GRAY = np.ascontiguousarray(COLOR[..., 0])


def picture(kind: str, pixels: np.ndarray = COLOR, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def dicom(syntax: str) -> bytes:
    made = dicom_dataset(GRAY)
    if syntax == JPEGLosslessSV1:
        with_frame(made, jpeg_lossless(GRAY, 8), syntax)
    elif syntax == JPEGBaseline8Bit:
        with_frame(made, picture("JPEG", GRAY), syntax)
    elif syntax == DeflatedExplicitVRLittleEndian:
        made.file_meta.TransferSyntaxUID = syntax
    else:
        made.compress(syntax, generate_instance_uid=False)
    return dicom_bytes(made)


FILES = {kind: picture(kind) for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")}
FILES |= {
    "PNG-16": picture("PNG", GRAY.astype(np.uint16) * 257),
    "TIFF-LZW": picture("TIFF", compression="tiff_lzw"),
    "DICOM": dicom_bytes(dicom_dataset(GRAY, WindowCenter=90, WindowWidth=70)),
    "DICOM-deflated": dicom(DeflatedExplicitVRLittleEndian),
    "DICOM-RLE": dicom(RLELossless),
    "DICOM-JPEG2000": dicom(JPEG2000Lossless),
    "DICOM-JPEGLS": dicom(JPEGLSLossless),
    "DICOM-JPEG": dicom(JPEGBaseline8Bit),
    "DICOM-lossless": dicom(JPEGLosslessSV1),
}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files(kind, data):
    broken = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken)))
        length = data.draw(st.integers(0, 12))
        broken[place : place + length] = data.draw(st.binary(max_size=12))
    if data.draw(st.booleans()):
        broken = broken[: data.draw(st.integers(0, len(broken)))]
    try:
        image = decode_image(bytes(broken), "scan.dcm" if kind.startswith("DICOM") else "scan")
    except PreprocessError as error:
        assert "scan" in str(error)  # noqa: PT017
    else:
        assert image.dtype in (np.uint8, np.uint16)
        assert image.ndim == 3
        assert image.shape[2] in (1, 3)
        assert image.flags.c_contiguous
