"""What the header of a DICOM file says: hashes in place of ids, and how the image was taken; never a name or date."""

import re
from dataclasses import dataclass
from io import BufferedIOBase

from pydicom.dataset import Dataset

from chiron.core.errors import PreprocessError
from chiron.core.hashing import keyed_hash, sha256_bytes
from chiron.preprocess.dicom_file import quiet, read_dicom

# Ids that say: not known. Images of such patients have nothing in common.
_NO_PATIENT = re.compile(
    r"anon(ymous|ymi[sz]ed)?|unknown|none|null|nan|n/?a|removed|redacted|de-?identified|[-?*0]+", re.IGNORECASE
)
_IDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_TECHNICAL = {
    "modality": "Modality",
    "manufacturer": "Manufacturer",
    "view_position": "ViewPosition",
    "photometric_interpretation": "PhotometricInterpretation",
}
TECHNICAL_COLUMNS = (*_TECHNICAL, "bits_stored")


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """Ids are keyed hashes; what the file does not say is None."""

    image_id: str
    patient_id: str | None
    study_id: str | None
    series_id: str | None
    technical: dict[str, str | None]
    burned_in: bool  # whether the file says that text is drawn into the picture, which may be a name


def read_dicom_header(stream: BufferedIOBase, name: str, key: bytes) -> DicomHeader:
    """The header of a DICOM file, read no further than to its pixels.

    Args:
        key: makes the hashes; the same key gives the same ids.
    Raises:
        PreprocessError: the bytes are no DICOM file, or a damaged one.
    """
    with quiet():
        header = read_dicom(stream, name, header_only=True)
        try:
            said = {keyword: _text(header, keyword) for keyword in (*_IDS, *_TECHNICAL.values(), "BurnedInAnnotation")}
            bits = header.get("BitsStored")
        except Exception:  # the texts of pydicom's errors hold values of the file
            raise PreprocessError(f"A DICOM header must be readable. Got a damaged one in {name}.") from None
    patient, study, series, image = (said[keyword] for keyword in _IDS)
    if image is None:
        stream.seek(0)
        image = sha256_bytes(stream.read())
    return DicomHeader(
        image_id="d-" + keyed_hash(key, image),
        patient_id=None if patient is None or _NO_PATIENT.fullmatch(patient) else keyed_hash(key, patient),
        study_id=study and keyed_hash(key, study),
        series_id=series and keyed_hash(key, series),
        technical={column: said[keyword] for column, keyword in _TECHNICAL.items()}
        | {"bits_stored": str(bits) if isinstance(bits, int) else None},
        burned_in=(said["BurnedInAnnotation"] or "").upper() == "YES",
    )


def _text(header: Dataset, keyword: str) -> str | None:
    """A text of the file, without the padding around it; None where there is none."""
    value = header.get(keyword)
    return (str(value).strip(" \0\t\r\n") or None) if value is not None else None
