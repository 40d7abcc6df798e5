"""A folder of images."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from chiron.core.errors import DataError
from chiron.data.sources.safety import MAX_FILE_BYTES, is_hidden, require_inside, require_text

_RUN_FILES = ("run.json", "recipe.yaml")  # a folder that holds both is the output of a training


class Folder:
    """Files below a folder, by their relative path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """All files, sorted, hidden ones and folders of trainings left out."""
        return self.walk()[0]

    def walk(self) -> tuple[list[str], list[str]]:
        """All files, and the folders of trainings, which are not entered; both sorted, without hidden ones."""
        found, runs = [], []
        for folder, inner, files in os.walk(self.root, followlinks=True, onerror=_refuse_folder):
            here = os.path.realpath(folder)
            # a link to a folder above would be walked for ever
            inner[:] = [name for name in inner if not _leads_back(here, os.path.join(folder, name))]
            relative = Path(folder).relative_to(self.root)
            found += [(relative / name).as_posix() for name in files]
            inside = [name for name in inner if _is_run_folder(Path(folder, name))]
            runs += [(relative / name).as_posix() for name in inside]
            inner[:] = [name for name in inner if name not in inside]
        names, folders = (sorted(name for name in listed if not is_hidden(name)) for listed in (found, runs))
        return [require_text(name, self.root) for name in names], folders

    def read_bytes(self, path: str) -> bytes:
        """The bytes of one file."""
        with self.open(path) as stream:
            return stream.read()

    @contextmanager
    def open(self, path: str) -> Iterator[BufferedReader]:
        """One file; a pipe or a file too large for an image is refused."""
        require_inside(path, self.root)
        try:
            said = (self.root / path).stat()
            if not stat.S_ISREG(said.st_mode) or said.st_size > MAX_FILE_BYTES:  # reading a pipe would wait for ever
                raise DataError(
                    f"An image must be a file of at most {MAX_FILE_BYTES >> 30} GiB. Got {said.st_size:,} bytes, or "
                    f"another thing than a file: {path} in {self.root}. Remove it."
                )
            with (self.root / path).open("rb") as stream:
                yield stream
        except OSError as error:
            raise DataError(
                f"An image file must be readable. Got {error.strerror or error}: {path} in {self.root}."
            ) from error


def _is_run_folder(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _RUN_FILES)


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"A folder of images must be readable. Got {error.strerror}: {error.filename}.") from error


def _leads_back(here: str, inner: str) -> bool:
    if not os.path.islink(inner):
        return False
    target = os.path.realpath(inner)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)
