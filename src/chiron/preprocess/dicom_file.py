"""DICOM files: what they say, read without trusting it. Values are looked at before anything is unpacked.

Nothing of a file's content goes into a message: it may be about a patient. For the same reason pydicom, which warns
with values, is kept quiet.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chiron.core.errors import PreprocessError
from chiron.preprocess.canonical import MAGIC_BYTES, incomplete, is_dicom, require_one_frame, require_pixels

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_INFLATED = 512 << 20
_QUIET = threading.Lock()  # filters of warnings belong to the process, not to a thread
_JPEG, _JPEG_2000, _END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"  # the end of all three
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})  # markers SOF0 to SOF15 and JPEG-LS's
_JPEG_HEADERS = _JPEG_SIZES | {0xC4, 0xCC, *range(0xDA, 0xF0), 0xF8, 0xFE}  # tables, applications' own, comments
_JPEG_SCAN = 0xFFDA


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from pydicom inside: they hold values of the file."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dicom(stream: BufferedIOBase, name: str, *, header_only: bool = False) -> Dataset:
    """The elements of a DICOM file, from its first byte; to be called, and its result used, inside `quiet`.

    Args:
        header_only: leave out the pixel data and what follows, and read no further.
    Raises:
        PreprocessError: the file is damaged, or unpacks to more than any image needs.
    """
    start = stream.read(4096)
    if _DEFLATED in start:
        _refuse_deflated_bomb(start + stream.read(), name)
    stream.seek(0)
    try:
        dataset = dcmread(stream, stop_before_pixels=header_only, force=not is_dicom(start))
        if "TransferSyntaxUID" not in dataset.file_meta:  # an old file, or one that was cut out of a message
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    except Exception as error:  # many kinds; their texts hold values of the file
        raise incomplete(f"a damaged DICOM file ({type(error).__name__})", name) from None
    return dataset


def require_image(dataset: Dataset, name: str) -> None:
    """Stops where there is no single image of a size and depth that is read.

    Raises:
        PreprocessError: saying what is there instead.
    """
    if "PixelData" not in dataset or not dataset.get("Rows") or not dataset.get("Columns"):
        raise PreprocessError(
            f"A DICOM file must hold an image. Got none in {name}: a report, a directory or numbers of another kind. "
            "Remove the file."
        )
    require_one_frame(int(dataset.get("NumberOfFrames") or 1), name)
    require_pixels(int(dataset.Columns), int(dataset.Rows), name)
    samples, allocated, stored = (
        int(dataset.get(keyword) or 0) for keyword in ("SamplesPerPixel", "BitsAllocated", "BitsStored")
    )
    if samples not in (1, 3) or allocated not in (1, 8, 16) or not 0 < stored <= allocated:
        raise PreprocessError(
            f"A DICOM image must have 1 or 3 samples a pixel of 1 to 16 bits. Got {samples} of {stored} "
            f"({allocated} allocated) in {name}. Convert it first."
        )


def require_same_size(dataset: Dataset, name: str) -> None:
    """Stops where a compressed picture says another size than the file around it: decoders believe the picture.

    Raises:
        PreprocessError: sizes or channels differ, or there is no picture.
    """
    try:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        said = _size_in(frame)
    except (ValueError, struct.error, IndexError, EOFError):
        raise incomplete("broken compressed pixels", name) from None
    if said is not None and not frame.rstrip(b"\0").endswith(_END):  # decoders search for it, or make something up
        raise incomplete("compressed pixels without an end", name)
    if said is not None and said != (dataset.Columns, dataset.Rows, dataset.SamplesPerPixel):
        raise incomplete("compressed pixels of another size than the header says", name)


def _size_in(frame: bytes) -> tuple[int, int, int] | None:
    """Width, height and channels in the header of a JPEG, JPEG-LS or JPEG 2000 stream; None of another."""
    start = frame.find(_JPEG_2000, 0, 4096)
    if start >= 0 and not frame.startswith(_JPEG):
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        return right - left, bottom - top, struct.unpack_from(">H", frame, start + 40)[0]
    if not frame.startswith(_JPEG):
        return None
    place, size = 2, None
    while True:  # to the start of the scan: gdcm ends the whole process where other bytes than markers come first
        marker, length = struct.unpack_from(">HH", frame, place)
        if marker >> 8 != 0xFF or marker & 0xFF not in _JPEG_HEADERS or length < 2:
            raise ValueError("no marker of a header")
        if marker & 0xFF in _JPEG_SIZES:
            height, width, channels = struct.unpack_from(">HHB", frame, place + 5)
            size = width, height, channels
        if marker == _JPEG_SCAN:
            return size or (0, 0, 0)
        place += 2 + length


def _refuse_deflated_bomb(data: bytes, name: str) -> None:
    """Unpacks a deflated file piece by piece and drops it, because pydicom unpacks without a limit."""
    start = MAGIC_BYTES + 12  # the first element says how long the part before the packed one is
    if data[MAGIC_BYTES : MAGIC_BYTES + 8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise incomplete("a damaged DICOM file (no length of its meta information)", name)
    start += struct.unpack_from("<I", data, MAGIC_BYTES + 8)[0] if len(data) >= start else 0
    unpacker, rest, size = zlib.decompressobj(-zlib.MAX_WBITS), data[start:], 0
    try:
        while rest and not unpacker.eof:
            size += len(unpacker.decompress(rest, 1 << 20))
            rest = unpacker.unconsumed_tail
            if size > _MOST_INFLATED:
                raise PreprocessError(
                    f"A deflated DICOM file must unpack to at most {_MOST_INFLATED >> 20} MiB. Got more in {name}. "
                    "Do not use it."
                )
    except zlib.error:
        raise incomplete("broken deflated data", name) from None
