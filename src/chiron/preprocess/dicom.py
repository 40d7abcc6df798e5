"""DICOM pixels: what the file's own tables and first window show, as a canonical array.

In the order of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2, C.7.6.3.1.2): stored values, modality table or rescaling,
VOI table or window, inversion of MONOCHROME1. Where there is no window, the full range of the stored bits is black to
white; rescaled values without one have no such range and are refused. Overlays and presentation states are ignored.
"""

import io

import numpy as np
from jaxtyping import Num
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_windowing
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from chiron.core.errors import PreprocessError
from chiron.preprocess.canonical import CanonicalImage, incomplete
from chiron.preprocess.dicom_file import quiet, read_dicom, require_image, require_same_size

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
# Which plug-in unpacks what, said by name: left to itself pydicom takes any that is installed, also one under the GPL.
_PLUGINS: dict[str, str] = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",  # 8 bits of it; no permissive decoder reads 12
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_MOST_ENTRIES = 65536  # of a lookup table

Values = Num[np.ndarray, "_height _width"]


def decode_dicom(data: bytes, name: str) -> CanonicalImage:
    """The canonical array of a DICOM file with one frame.

    Raises:
        PreprocessError: see `decode_image`; also for rescaled values without a window. It never holds what the file
            says of a patient.
    """
    with quiet():
        dataset = read_dicom(io.BytesIO(data), name)
        try:
            require_image(dataset, name)
            return _canonical(dataset, name)
        except PreprocessError:
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of pydicom and plug-ins, one of which panics; texts hold values of the file
            raise incomplete(f"a damaged DICOM image ({type(error).__name__})", name) from None


def dicom_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height as the header says; 0 where it says none. See `image_size`."""
    with quiet():
        dataset = read_dicom(io.BytesIO(data), name, header_only=True)
        try:
            return int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
        except Exception as error:  # values that are no numbers; their texts hold values of the file
            raise incomplete(f"a damaged DICOM image ({type(error).__name__})", name) from None


def _canonical(dataset: Dataset, name: str) -> CanonicalImage:
    kind = str(dataset.get("PhotometricInterpretation") or "")
    if kind in _COLOR and dataset.SamplesPerPixel == 3:
        return _full_range(_stored(dataset, name), *_stored_range(dataset), dataset.BitsStored)
    if kind in _GRAY and dataset.SamplesPerPixel == 1:
        values, black, white = _shown(dataset, _stored(dataset, name), name)
        if kind == "MONOCHROME1":
            black, white = white, black
        return _full_range(values, black, white, dataset.BitsStored)[..., None]
    if kind == "PALETTE COLOR" and dataset.SamplesPerPixel == 1:
        if "RedPaletteColorLookupTableData" not in dataset:  # segmented tables may unpack to anything
            raise PreprocessError(
                f"A palette must be a plain table. Got a segmented or missing one in {name}. Convert it to RGB first."
            )
        colors = apply_color_lut(_stored(dataset, name), dataset)[..., :3]
        return np.ascontiguousarray(colors if colors.dtype == np.uint16 else colors.astype(np.uint8))
    raise PreprocessError(
        f"A DICOM image must be gray, RGB, YBR or PALETTE COLOR. Got another kind of color with "
        f"{dataset.SamplesPerPixel} samples in {name}. Convert it first."
    )


def _stored(dataset: Dataset, name: str) -> np.ndarray:
    """The stored values, (height, width) or RGB (height, width, 3)."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax not in _NATIVE and syntax not in _PLUGINS:
        raise PreprocessError(
            "DICOM pixels must be uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000. "
            f"Got another transfer syntax in {name}. Convert it first, for example with gdcmconv."
        )
    if syntax == JPEGExtended12Bit and dataset.BitsStored != 8:
        raise PreprocessError(
            f"DICOM pixels in JPEG must have 8 bits, or be compressed without loss. Got {dataset.BitsStored} bits in "
            f"{name}. Convert it first, for example with dcmdjpeg."
        )
    if syntax in _PLUGINS:
        require_same_size(dataset, name)
    array, _ = get_decoder(syntax).as_array(dataset, raw=False, index=0, decoding_plugin=_PLUGINS.get(syntax, ""))
    return array


def _shown(dataset: Dataset, values: np.ndarray, name: str) -> tuple[Values, float, float]:
    """Gray values after the modality and VOI steps, and those of them that mean black and white."""
    black, white = _stored_range(dataset)
    rescaled = False
    if table := _first(dataset, "ModalityLUTSequence"):
        values, black, white = _looked_up(values, table, dataset)
        for keyword in ("RescaleSlope", "RescaleIntercept"):  # the table stands in their place, also for pydicom
            dataset.pop(keyword, None)
    elif dataset.get("RescaleSlope") is not None and dataset.get("RescaleIntercept") is not None:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        if not (np.isfinite([slope, intercept]).all() and slope != 0):
            raise PreprocessError(
                f"A rescale slope must be a number and not zero. Got another in {name}. Mend the file."
            )
        rescaled = (slope, intercept) != (1.0, 0.0)
        values = values.astype(np.float64) * slope + intercept
        black, white = black * slope + intercept, white * slope + intercept
    if table := _first(dataset, "VOILUTSequence"):
        return _looked_up(values, table, dataset)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        try:
            return apply_windowing(values, dataset), black, white
        except (ValueError, TypeError, IndexError):
            raise PreprocessError(
                f"A window must have a center, a width of at least 1, and a function that is LINEAR, LINEAR_EXACT or "
                f"SIGMOID. Got another in {name}. Mend the file."
            ) from None
    if rescaled:
        raise PreprocessError(
            f"A DICOM image with rescaled values must say which of them are shown. Got no window in {name}. "
            "Write WindowCenter and WindowWidth into it, the same for all images."
        )
    return values, black, white


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, if there is one with a table in it."""
    items = dataset.get(keyword)
    return items[0] if items and "LUTDescriptor" in items[0] and "LUTData" in items[0] else None


def _looked_up(values: Values, item: Dataset, dataset: Dataset) -> tuple[Values, float, float]:
    """Values through a table, and its range; those below and above it get its first and last entry (PS3.3 C.11.1.1.1).

    pydicom's own function counts its places in the type of the entries, too few for a long table of 8 bits.
    """
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or _MOST_ENTRIES
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        data = np.frombuffer(data, np.uint8 if len(data) == entries + entries % 2 else f"{order}u2")
    table = np.asarray(data, np.int64)[:entries]
    if len(table) < entries or not 8 <= bits <= 16:
        raise ValueError("a table that is cut off")
    places = np.clip(np.rint(values) - first, 0, entries - 1)  # rescaled values lie between two entries
    return table[places.astype(np.int64)], 0, 2**bits - 1


def _stored_range(dataset: Dataset) -> tuple[float, float]:
    """The smallest and largest value that the stored bits can hold."""
    bits = int(dataset.BitsStored)
    if dataset.get("PixelRepresentation"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _full_range(values: np.ndarray, black: float, white: float, bits_stored: int) -> np.ndarray:
    """`black` to `white` over all of uint8 (up to 8 stored bits) or uint16; what lies outside is cut off."""
    dtype, most = (np.uint8, 255) if bits_stored <= 8 else (np.uint16, 65535)
    if (black, white) == (0, most) and values.dtype.kind in "iu":
        return np.ascontiguousarray(np.clip(values, 0, most).astype(dtype))
    shares = (values.astype(np.float64) - black) / (white - black)
    if not np.isfinite(shares).all():
        raise ValueError("values that are no numbers")
    return np.rint(np.clip(shares, 0, 1) * most).astype(dtype)
