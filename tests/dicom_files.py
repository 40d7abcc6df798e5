"""DICOM files for tests, made with pydicom; the patient has a name that must never show up anywhere."""

import io
import struct

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

SECRETS = ("Doe^Jane", "19500607", "MRN-4711", "Elm Street")


def dicom_dataset(pixels: np.ndarray, *, bits_stored: int | None = None, kind: str = "", **elements) -> FileDataset:
    """An uncompressed image of one frame: (height, width) gray or (height, width, 3) color."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(None, Dataset(), file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientBirthDate, made.PatientID, made.PatientAddress = SECRETS
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "OT"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = kind or ("MONOCHROME2" if pixels.ndim == 2 else "RGB")
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    made.BitsStored = bits_stored or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes() + bytes(pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if made.BitsAllocated == 8 else "OW"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def lookup_table(values: list[int], *, first: int = 0, bits: int = 16) -> Dataset:
    """One item of a modality or VOI table."""
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values) % 65536, first, bits], np.array(values, "<u2").tobytes()
    return item


def with_frame(made: FileDataset, frame: bytes, syntax: str) -> FileDataset:
    """The same image with compressed pixels that were made elsewhere."""
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    return made


def dicom_bytes(made: FileDataset, **options) -> bytes:
    """The file."""
    stream = io.BytesIO()
    dcmwrite(stream, made, **options or {"enforce_file_format": True})
    return stream.getvalue()


def dicom_file(pixels: np.ndarray, **how) -> bytes:
    """`dicom_dataset` as a file."""
    return dicom_bytes(dicom_dataset(pixels, **how))


def jpeg_lossless(pixels: np.ndarray, bits: int) -> bytes:
    """One gray JPEG Lossless frame (process 14, selection value 1), written out: no permissive package encodes it.

    Every category of differences has a code of five bits. Source: ITU-T T.81, annex H.
    """
    height, width = pixels.shape
    values = pixels.astype(np.int64)
    before = np.empty_like(values)
    before[:, 1:] = values[:, :-1]  # the first of a row is predicted from above, the very first from half of the range
    before[1:, 0], before[0, 0] = values[:-1, 0], 2 ** (bits - 1)
    written = []
    for difference in ((values - before + 32768) % 65536 - 32768).ravel().tolist():  # modulo 2^16
        size = abs(difference).bit_length()
        low = difference if difference > 0 else difference + 2**size - 1
        written.append(f"{size:05b}" + (f"{low:0{size}b}" if 0 < size < 16 else ""))
    text = "".join(written)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BHHBBBB", bits, height, width, 1, 1, 0x11, 0)
    codes = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    start = bytes([1, 1, 0, 1, 0, 0])
    parts = ((0xC3, frame), (0xC4, codes), (0xDA, start))
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in parts)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"
