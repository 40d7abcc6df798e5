"""A table that grows by whole rows, is never half written for who reads it again, and goes on where it was stopped.

CSV and JSON Lines are one file: rows are appended as whole lines and synced to disk; a line that a killed process left
half is cut off. A Parquet file cannot be read before it is finished, so that a Parquet table is a folder of parts,
each of which appears as a whole.
"""

import csv
import io
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import polars as pl

from chiron.core.errors import DataError, SpecError
from chiron.core.files import claimed, output_error, write_bytes

NAME, STATUS = "sample_id", "status"
ROWS_A_PART = 1024
Cells = Mapping[str, Any]


class GrowingTable(ABC):
    """Rows of the same columns at `path`; to be used as a context, one process at a time.

    Args:
        columns: name -> polars type, in order; `sample_id` and `status` among them.
    """

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        self.path, self.columns = path, dict(columns)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._hold()
        except OSError as error:
            raise output_error(self.path, error) from error
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._finish()
        except OSError as failed:
            raise output_error(self.path, failed) from failed
        finally:
            self._held.close()

    def append(self, rows: Sequence[Cells]) -> None:
        """Adds whole rows; who is killed afterwards has them.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        try:
            self._append(rows)
        except OSError as error:
            raise output_error(self.path, error) from error

    @abstractmethod
    def start(self) -> None:
        """Replaces whatever stands there by an empty table."""

    @abstractmethod
    def kept(self) -> Iterator[tuple[str, str]]:
        """Name and status of each whole row that stands there; rows can be appended once all were asked for.

        Raises:
            DataError: what stands there is no such table.
        """

    @abstractmethod
    def _hold(self) -> None: ...

    @abstractmethod
    def _append(self, rows: Sequence[Cells]) -> None: ...

    def _finish(self) -> None:  # noqa: B027 - a table of lines has nothing left to do
        pass

    def _claim(self, path: Path) -> None:
        if not self._held.enter_context(claimed(path)):
            raise SpecError(
                f"One process at a time may write a table. Got {self.path}, which another one is writing. Wait for it."
            )

    def _refused(self, why: str) -> DataError:
        return DataError(
            f"A table to continue must be as it was written. Got {why} in {self.path}. Choose another --out, or "
            "--force to start anew."
        )


class _Lines(GrowingTable):
    """One file of lines."""

    stream: IO[bytes]

    def _hold(self) -> None:
        self.path.touch()
        self._claim(self.path)
        self.stream = self._held.enter_context(self.path.open("r+b"))

    def start(self) -> None:
        self.stream.truncate(0)
        self.stream.seek(0)
        self._write(self._header())

    def kept(self) -> Iterator[tuple[str, str]]:
        end, header = 0, self._header()
        for place, line in enumerate(self._records()):
            if header and place == 0:
                if line != header:
                    raise self._refused("other columns than this bundle and these options have")
            else:
                yield self._name_and_status(line, place)
            end += len(line)
        self.stream.truncate(end)
        self.stream.seek(end)
        if not end:
            self._write(header)

    def _append(self, rows: Sequence[Cells]) -> None:
        self._write(b"".join(self._line(row) for row in rows))

    def _write(self, data: bytes) -> None:
        self.stream.write(data)
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def _records(self) -> Iterator[bytes]:
        """Whole records; what follows the last one was cut off by a kill."""
        self.stream.seek(0)
        yield from (line for line in self.stream if line.endswith(b"\n"))

    @abstractmethod
    def _header(self) -> bytes: ...

    @abstractmethod
    def _line(self, row: Cells) -> bytes: ...

    @abstractmethod
    def _name_and_status(self, line: bytes, place: int) -> tuple[str, str]: ...


class CsvTable(_Lines):
    """Comma-separated values; a list is joined by |."""

    def _header(self) -> bytes:
        return _csv_line(self.columns)

    def _line(self, row: Cells) -> bytes:
        return _csv_line(_flat(row.get(name)) for name in self.columns)

    def _records(self) -> Iterator[bytes]:
        """A record ends with a line outside of quotes: a name may hold a line break."""
        record = b""
        for line in super()._records():
            record += line
            if record.count(b'"') % 2 == 0:
                yield record
                record = b""

    def _name_and_status(self, line: bytes, place: int) -> tuple[str, str]:
        cells = next(csv.reader(io.StringIO(line.decode("utf-8", "replace"), newline="")), [])
        if len(cells) != len(self.columns):
            raise self._refused(f"a row {place} of {len(cells)} cells in place of {len(self.columns)}")
        named = dict(zip(self.columns, cells, strict=True))
        return named[NAME], named[STATUS]


class JsonLinesTable(_Lines):
    """One JSON object a line, without keys that have no value."""

    def _header(self) -> bytes:
        return b""

    def _line(self, row: Cells) -> bytes:
        told = {name: row[name] for name in self.columns if row.get(name) is not None}
        return (json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def _name_and_status(self, line: bytes, place: int) -> tuple[str, str]:
        try:
            row = json.loads(line)
            return row[NAME], row[STATUS]
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused(f"a line {place + 1} that is no row") from error


class ParquetTable(GrowingTable):
    """A folder of Parquet files, `part-000000.parquet` and so on, which readers take for one table."""

    def _hold(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim(self.path / ".lock")
        self.waiting: list[Cells] = []
        self.num_parts = 0

    def start(self) -> None:
        for part in self.path.glob("part-*.parquet"):
            part.unlink()

    def kept(self) -> Iterator[tuple[str, str]]:
        for part in sorted(self.path.glob("part-*.parquet")):
            try:
                table = pl.read_parquet(part)
            except (OSError, pl.exceptions.PolarsError) as error:
                raise self._refused(f"{error} at {part.name}") from error
            if dict(table.schema) != self.columns or part.name != self._name(self.num_parts):
                raise self._refused(f"other columns or another number: {part.name}")
            self.num_parts += 1
            yield from table.select(NAME, STATUS).iter_rows()

    def _append(self, rows: Sequence[Cells]) -> None:
        self.waiting += rows
        while len(self.waiting) >= ROWS_A_PART:
            self._write_part(self.waiting[:ROWS_A_PART])
            del self.waiting[:ROWS_A_PART]

    def _finish(self) -> None:
        if self.waiting:
            self._write_part(self.waiting)
            self.waiting = []

    def _write_part(self, rows: Sequence[Cells]) -> None:
        columns = {name: [_flat(row.get(name)) for row in rows] for name in self.columns}
        packed = io.BytesIO()
        pl.DataFrame(columns, schema=self.columns).write_parquet(packed)
        write_bytes(self.path / self._name(self.num_parts), packed.getvalue())
        self.num_parts += 1

    @staticmethod
    def _name(number: int) -> str:
        return f"part-{number:06d}.parquet"


TABLES: Mapping[str, type[GrowingTable]] = {".csv": CsvTable, ".jsonl": JsonLinesTable, ".parquet": ParquetTable}


def table_at(path: Path, columns: Mapping[str, Any]) -> GrowingTable:
    """The table of the kind that the name of `path` says; a file in place of a folder, or the reverse, is removed."""
    kind = TABLES[path.suffix.lower()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.is_dir() != (kind is ParquetTable):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise output_error(path, error) from error
    return kind(path, columns)


def require_table_name(path: Path) -> None:
    """Stops at a name that says no kind of table.

    Raises:
        SpecError: it ends otherwise.
    """
    if path.suffix.lower() not in TABLES:
        raise SpecError(f"A table must be called {', '.join(f'*{it}' for it in TABLES)}. Got {path}. Change --out.")


def _csv_line(cells: Any) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(list(cells))
    return stream.getvalue().encode()


def _flat(value: Any) -> Any:
    return "|".join(value) if isinstance(value, list | tuple) else value
