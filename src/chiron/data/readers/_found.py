"""`Found`: what lies at a path, as readers see it: names of images and tables, parsed on first use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from chiron.core.errors import DataError
from chiron.data.image_names import unnamed_dicom
from chiron.data.readers._base import only_images
from chiron.data.readers._images import ImageIndex
from chiron.data.source import ImageSource
from chiron.data.tables import Table, is_table, read_table
from chiron.spec.layout import Layout

_MAX_TABLE_BYTES = 512 << 20


@dataclass(frozen=True, eq=False)
class Found:
    """The source of the images, the names of all its files, and the tables that may speak of them.

    `tables` are names inside `table_source`, which is the source of the images unless they lie elsewhere, and names of
    tables that a person named, which lie anywhere.
    """

    source: ImageSource
    names: Sequence[str]
    tables: tuple[str, ...]
    table_source: ImageSource
    table_only: bool = False
    labels: Literal["single", "multi"] | None = None  # how many classes an image can show, where a person said it
    metadata: str | None = None  # the table that a person named as one of further columns
    beside: tuple[str, ...] = ()  # tables that lie beside the one that a person named, and are not read
    outside: dict[str, Path] = field(default_factory=dict)
    unnamed: frozenset[str] = frozenset()  # images whose names do not say so
    _parsed: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The table of this name.

        Raises:
            DataError: it cannot be read, or is no table.
        """
        if name not in self._parsed:
            data = _read(self.outside[name]) if name in self.outside else self.table_source.read_bytes(name)
            self._parsed[name] = read_table(data, name)
        return self._parsed[name]

    def with_tables(self, tables: Mapping[str, Table], *, labels: Literal["single", "multi"]) -> "Found":
        """The same files with other content of some tables, which a reader knows better than their cells say."""
        return replace(self, labels=labels, _parsed=self._parsed | dict(tables))

    @cached_property
    def images(self) -> list[str]:
        """The names that are images, sorted as `names` is."""
        return only_images(self.names, self.unnamed)[0]

    @cached_property
    def index(self) -> ImageIndex:
        """The images, to be found by what tables call them."""
        return ImageIndex(self.images, self.source.root)

    @property
    def tables_are_given(self) -> bool:
        """Whether a person named the tables, so that a mistake in them must not be passed over."""
        return bool(self.outside)


def image_root(path: Path, layout: Layout) -> Path:
    """Where the images of the data at `path` lie: where a person says, else beside a table, else there."""
    beside = path.parent if is_table(path.name) and not path.is_dir() else path
    return layout.images or beside


def look_at(path: Path, layout: Layout) -> Found:
    """What lies at `path`: a folder, zip or npz with images, or a table whose images lie beside it.

    Raises:
        DataError: nothing is there, or a place that belongs to a table is given without one.
    """
    by_table = is_table(path.name) and not path.is_dir()
    if by_table and not path.is_file():
        raise DataError(f"A table must exist. Got {path}. Check the path.")
    given = [table for table in (path if by_table else None, layout.metadata) if table is not None]
    source = ImageSource(image_root(path, layout))
    table_source = source if by_table or layout.images is None else ImageSource(path)
    outside = {_called(table, given): table for table in given}
    names = source.names()
    lying = () if by_table else tuple(name for name in table_source.names() if is_table(name))
    if layout.images is not None and not by_table and not lying:
        raise DataError(f"--images belongs to a table of labels. Got no table in {path}. Leave it out.")
    metadata = next((called for called, table in outside.items() if table == layout.metadata), None)
    beside = sorted(set(_tables_in(path.parent)) - {table.name for table in given}) if by_table else []
    return Found(
        source=source,
        names=names,
        tables=(*lying, *outside),
        table_source=table_source,
        table_only=layout.table_only,
        labels=layout.labels,
        metadata=metadata,
        beside=tuple(beside),
        outside=outside,
        unnamed=unnamed_dicom(source, names),
    )


def _tables_in(folder: Path) -> list[str]:
    return [other.name for other in folder.iterdir() if is_table(other.name) and not other.name.startswith(".")]


def _called(table: Path, given: Sequence[Path]) -> str:
    """The file's name, or the whole path where two files are called the same."""
    return table.name if sum(other.name == table.name for other in given) == 1 else str(table)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_TABLE_BYTES:
            raise DataError(f"A table must be smaller than {_MAX_TABLE_BYTES >> 20} MiB. Got {path}. Choose another.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"A table must be readable. Got {error.strerror or error} at {path}. Check the path."
        ) from error
