"""Tables as people have them: CSV or TSV from any program, or Parquet, read so that every mistake has its line."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
_PARQUET = ".parquet"
_DELIMITERS = ",;\t|"
_MOST_LINES = 5
_NO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"


@dataclass(frozen=True)
class Table:
    """A table of text. `lines[row]` is the line of the file, from 1, on which a row ends; blank cells are null.

    A file without lines counts its rows, from 1.
    """

    name: str
    frame: pl.DataFrame
    lines: tuple[int, ...]

    def where(self, rows: Iterable[int]) -> str:
        """`line 3 of labels.csv`, `lines 3, 7, ... of labels.csv`, `row 3 of labels.parquet`."""
        what = "row" if self.name.lower().endswith(_PARQUET) else "line"
        found = [self.lines[row] for row in rows]
        shown = ", ".join(map(str, found[:_MOST_LINES])) + (", ..." if len(found) > _MOST_LINES else "")
        return f"{what}{'s' if len(found) > 1 else ''} {shown} of {self.name}"


def is_table(path: str) -> bool:
    """Whether a file name is that of a table."""
    return PurePosixPath(path).suffix.lower() in TABLE_SUFFIXES


def read_table(data: bytes, name: str) -> Table:
    """The table in `data`: separated by commas, semicolons, tabs or bars, the first line its header; or Parquet.

    Args:
        name: what the file is called in messages.
    Raises:
        DataError: text that is not UTF-8 or UTF-16, no header, repeated columns, rows of another length, no rows.
    """
    if name.lower().endswith(_PARQUET):
        return _read_parquet(data, name)
    text = _decode(data, name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    lines, rows = [], []
    try:
        for cells in reader:
            if any(_trim(cell) for cell in cells):
                lines.append(reader.line_num)
                rows.append([_trim(cell) or None for cell in cells])
    except csv.Error as error:
        raise DataError(
            f"A table must be whole, with every quote closed. Got {error} in line {reader.line_num} of {name}."
        ) from error
    if len(rows) < 2:
        raise DataError(f"A table must have a header and rows. Got {len(rows)} line{'s' * (len(rows) != 1)} in {name}.")
    columns = _columns(rows[0], name)
    table = Table(name, pl.DataFrame(), tuple(lines[1:]))
    ragged = [row for row, cells in enumerate(rows[1:]) if len(cells) != len(columns)]
    if ragged:
        raise DataError(
            f"Every row of a table must have as many cells as the header ({len(columns)}). "
            f"Got {len(rows[1 + ragged[0]])} in {table.where(ragged)}. Quote cells that hold the separator."
        )
    frame = pl.DataFrame(rows[1:], schema=dict.fromkeys(columns, pl.String), orient="row")
    return Table(name, frame, table.lines)


def _read_parquet(data: bytes, name: str) -> Table:
    """Every cell as the text that a CSV file would hold; cells of NaN are blank."""
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    # A damaged file makes the Rust code panic, which is no Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, MemoryError) as error:
        raise DataError(f"A Parquet table must be whole. Got {error} in {name}. Write it again.") from error
    nested = [column for column, kind in frame.schema.items() if kind.is_nested() or kind in (pl.Binary, pl.Object)]
    if nested:
        raise DataError(
            f"Columns of a table must hold text, numbers, dates or yes and no. Got {nested[0]} of type "
            f"{frame.schema[nested[0]]} in {name}. Write its content to files or to columns of their own."
        )
    if not frame.height:
        raise DataError(f"A table must have a header and rows. Got no row in {name}.")
    text = frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None)).with_columns(pl.all().cast(pl.String))
    trimmed = text.select(
        pl.Series(_trim(column), [None if cell is None else _trim(cell) or None for cell in text[column]], pl.String)
        for column in text.columns
    )
    columns = _columns(trimmed.columns, name)
    return Table(name, trimmed.rename(dict(zip(trimmed.columns, columns, strict=True))), tuple(range(1, len(text) + 1)))


def _trim(cell: str) -> str:
    """A cell without white space around it, also of the kinds that have no width."""
    return cell.strip().strip(_NO_WIDTH).strip()


def _decode(data: bytes, name: str) -> str:
    """The text, which Excel and others write as UTF-8 with or without a mark, or as UTF-16 with one."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(
                f"A table must be whole UTF-16 text. Got {error.reason} in {name}. Save it again."
            ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"A table must be UTF-8 text. Got the byte 0x{data[error.start]:02x} in line {line} of {name}. "
            "Save it as 'CSV UTF-8', or convert it (iconv -f WINDOWS-1252 -t UTF-8)."
        ) from error
    if "\0" in text:
        raise DataError(f"A table must be text. Got a zero byte in {name}. Save it as 'CSV UTF-8'.")
    return text


def _delimiter(text: str) -> str:
    """The separator that stands most often in the header, outside of quotes."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _columns(header: Sequence[str | None], name: str) -> list[str]:
    """Names of the columns; those without one, such as a written index, are numbered."""
    columns = [cell or f"unnamed_{place}" for place, cell in enumerate(header, start=1)]
    repeated = sorted(column for column, count in Counter(columns).items() if count > 1)
    if repeated:
        raise DataError(
            f"Every column of a table must have its own name. Got {', '.join(repeated)} more than once in {name}. "
            "Rename one."
        )
    return columns
