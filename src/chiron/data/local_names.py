"""`local_names.csv`: the one file of a project that says which images stand behind the hashes of its private tables.

It lies in the project's folder, is readable by its owner alone, and is never copied. As a source of images it reads by
hash what lies elsewhere under its own name.
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chiron.core.errors import DataError
from chiron.core.files import locked, write_text

LOCAL_NAMES = "local_names.csv"
_COLUMNS = ("hash", "root", "path", "sample_hash", "sample_id")


@dataclass(frozen=True)
class LocalName:
    """One image: where it lies, and what it was called."""

    root: str
    path: str
    sample_hash: str
    sample_id: str


def read_local_names(file: Path) -> dict[str, LocalName]:
    """hash -> image; empty where there is no such file yet.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    if not file.is_file():
        return {}
    try:
        frame = pl.read_csv(io.BytesIO(file.read_bytes()), infer_schema=False).fill_null("")
        rows = frame.select(_COLUMNS).iter_rows()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"The local names must be a CSV file with {', '.join(_COLUMNS)}. Got {error} at {file}. Put it back; "
            "without it the images of this project's private tables cannot be found."
        ) from error
    return {name: LocalName(*rest) for name, *rest in rows}


def add_local_names(file: Path, names: Mapping[str, LocalName]) -> None:
    """Adds images to the file, which only its owner can read; several processes may do so at once.

    Raises:
        DataError: what stands there is no such file.
        OutputError: the file cannot be written.
    """
    with locked(file):
        merged = read_local_names(file) | dict(names)
        rows = [(name, image.root, image.path, image.sample_hash, image.sample_id) for name, image in merged.items()]
        table = pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")
        write_text(file, table.write_csv(), mode=0o600)


def locate(file: Path, names: Mapping[str, LocalName], path: str) -> tuple[Path, str]:
    """Where the image lies that tables call `path`: its root and its path there.

    Raises:
        DataError: the file does not know it.
    """
    if path not in names:
        raise DataError(f"Local names must know every image of a private table. Got {path}, unknown to {file}.")
    root = Path(names[path].root)
    return (root if root.is_absolute() else Path(os.path.normpath(file.parent / root))), names[path].path
