"""Which files of a source are images: by their suffix; DICOM files often have none and are known by their mark."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from chiron.core.errors import DataError
from chiron.data.source import ImageSource
from chiron.preprocess.canonical import DICOM_SUFFIXES, IMAGE_SUFFIXES, is_dicom


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def may_be_dicom(name: str) -> bool:
    """Whether a file may be DICOM: its suffix says so, it has none, or its name ends in a number, as UIDs do."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    return suffix in DICOM_SUFFIXES or ((not suffix or suffix[1:].isdecimal()) and path.name != "DICOMDIR")


def unnamed_dicom(source: ImageSource, names: Sequence[str]) -> frozenset[str]:
    """The DICOM files without a suffix: they bear the mark of the format, and lie beside other images or alone."""
    found = set()
    for name in names if not source.is_npz else ():
        try:
            if not is_image_name(name) and may_be_dicom(name) and is_dicom(source.read_start(name)):
                found.add(name)
        except DataError:  # a file that cannot be read is no image either
            continue
    return frozenset(found)
