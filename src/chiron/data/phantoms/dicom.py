"""A phantom as a DICOM file, the way an X-ray room writes it: 12 bits of 16, a window, ids in the header."""

import io

import numpy as np
from jaxtyping import UInt8
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from chiron.core.hashing import seed_of
from chiron.data.phantoms.phantom_set import PhantomRow

_WHITE = 4095  # of 12 bits
_INVERTED_SHARE = 3  # one file in so many has white as its smallest value
_MAKERS = ("Phantom Systems A", "Phantom Systems B")


def dicom_file(row: PhantomRow, picture: UInt8[np.ndarray, "h w"], *, seed: int) -> bytes:
    """The bytes of one file; what it says of how the image was taken is drawn by name and tells nothing of the label.

    Every third image is MONOCHROME1, stored inverted, so that who ignores the word reads a negative.
    """
    drawn = seed_of("phantom-dicom", seed, row.sample_id)
    inverted = drawn % _INVERTED_SHARE == 0
    values = np.rint(picture * (_WHITE / 255)).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = _uid("image", seed, row.sample_id)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID = _uid("study", seed, row.sample_id)
    made.SeriesInstanceUID = _uid("series", seed, row.sample_id)
    made.PatientID, made.PatientName = row.patient_id, f"Phantom^{row.patient_id}"
    made.Modality, made.ViewPosition = "CR", str(row.params["view"])
    made.Manufacturer = _MAKERS[seed_of("phantom-maker", seed, row.patient_id) % len(_MAKERS)]
    made.Rows, made.Columns = picture.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME1" if inverted else "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = (_WHITE + 1) // 2, _WHITE + 1
    made.PixelData = (_WHITE - values if inverted else values).astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    stream = io.BytesIO()
    dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def _uid(*names: int | str) -> UID:
    """An id below the root that is free for numbers drawn at random."""
    return UID(f"2.25.{seed_of('phantom-uid', *names)}")
