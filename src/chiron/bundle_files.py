"""Where the files of a bundle lie: in a folder, in the run folder above it, or in one zip. Data, never code."""

import io
import re
import zipfile
from pathlib import Path, PurePosixPath

from chiron.core.errors import BundleError, reason_of
from chiron.core.files import write_bytes
from chiron.data.known_images import KNOWN_IMAGES

WEIGHTS, SPEC, CARD = "weights.safetensors", "bundle.json", "README.md"
EXPLAINERS, EXPERIENCE = "explainers.json", "experience.json"
BUNDLE_FILES = (WEIGHTS, SPEC, CARD, KNOWN_IMAGES, EXPLAINERS, EXPERIENCE)  # the last three are not in every bundle

# Formats that Python loads by pickle: torch, joblib, NumPy's objects. Protocols 2 and above have a start of their own;
# a torch file is a zip, which no file of a bundle is.
_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".pt2", ".ckpt", ".bin", ".joblib", ".dill", ".npy", ".npz", ".py"}
_STARTS = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04|\x93NUMPY")
_START_BYTES = 8


class BundleFiles:
    """The files of one bundle, read by name.

    Args:
        path: a bundle, a run folder that holds one, or a zip of a bundle's files.
    Raises:
        BundleError: the path is neither, or a file in it can hold code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path if is_zip(path) else folder_of(path)
        try:
            self.names = self._names()
            starts = {name: self._start(name) for name in self.names}
        except (OSError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"A bundle must be a folder or a zip with {SPEC}. Got {reason_of(error)} at {self.path}. "
                "Give the folder `bundle` of a run, or get the file again."
            ) from error
        for name, start in starts.items():
            if PurePosixPath(name).suffix.lower() in _SUFFIXES or _STARTS.match(start):
                raise BundleError(
                    f"A bundle must hold data alone. Got {name} in {self.path}, of a kind that can run code when it is "
                    "loaded. Get the bundle from where it was made."
                )

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            BundleError: there is no such file, or it is damaged.
        """
        try:
            if not is_zip(self.path):
                return (self.path / name).read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            run = self.path.parent if self.path.name == "bundle" else self.path
            if (run / "run.json").is_file() and not (self.path / SPEC).is_file():
                raise BundleError(
                    f"A run must be trained to its end before it is used. Got {run} without a bundle. Go on with "
                    f"`chiron train --out {run} --resume`."
                ) from error
            is_missing = isinstance(error, KeyError | FileNotFoundError)
            reason = reason_of(error) if not is_missing else f"no {name}" if self.path.exists() else "nothing"
            raise BundleError(
                f"A bundle must be a folder with {name}, or one zip. Got {reason} at {self.path}. "
                "Give a run or its folder `bundle`, or copy it again."
            ) from error

    def _names(self) -> list[str]:
        if is_zip(self.path):
            with zipfile.ZipFile(self.path) as archive:
                return sorted(archive.namelist())
        if not (self.path / SPEC).is_file():  # another folder, perhaps of a million images
            return []
        found = [path for path in self.path.rglob("*") if not path.is_dir()]
        return sorted(path.relative_to(self.path).as_posix() for path in found)

    def _start(self, name: str) -> bytes:
        if is_zip(self.path):
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
                return stream.read(_START_BYTES)
        with (self.path / name).open("rb") as stream:
            return stream.read(_START_BYTES)


def is_zip(path: Path) -> bool:
    """Whether the path names one file that holds a bundle."""
    return path.suffix.lower() == ".zip"


def folder_of(path: Path) -> Path:
    """The bundle at `path`, or the one in a run folder."""
    return path / "bundle" if (path / "bundle" / SPEC).is_file() else path


def pack(files: BundleFiles, path: Path) -> None:
    """Writes the bundle's own files into one zip, uncompressed; equal bundles give equal bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in files.names:
            if name in BUNDLE_FILES:
                archive.writestr(zipfile.ZipInfo(name), files.read(name))  # of 1980, whenever it is packed
    write_bytes(path, stream.getvalue())
