"""Which unit (patient, lesion, exam) each image file belongs to: by a table that names both, or by its folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean
from chiron.data.columns import IMAGE, columns_for
from chiron.data.groups import is_blank
from chiron.data.tables import Table, read_table

BY_FOLDER = "folder"


def units_of_files(names: Sequence[str], by: str, table: Path | None) -> list[str | None]:
    """The unit of every image, None where the table leaves it blank or does not name the image.

    Args:
        by: a column of the table, or without one `folder`: the images of one folder make one unit.
        table: names images (by path, file name, or file name without suffix) and their units.
    Raises:
        DataError: no such column, a table that names none of the images, one image with two units, or a name that
            fits several images.
    """
    if table is None:
        if by != BY_FOLDER:
            raise DataError(f"A column needs its table. Got --by {by} alone. Add --table FILE.csv, or use --by folder.")
        return [str(PurePath(name).parent) for name in names]
    unit_of = _units_in(table, by)
    keys = [next((key for key in _callings(name) if key in unit_of), None) for name in names]
    found = Counter(key for key in keys if key is not None)
    if not found:
        raise DataError(
            f"The table must name the images. Got none of the {len(names)} in {table.name}. Write paths or file names."
        )
    if twice := [key for key, count in found.items() if count > 1]:
        raise DataError(
            f"A name in the table must be that of one image. Got {found[twice[0]]} called {twice[0]!r}. "
            "Write more of their paths."
        )
    return [None if key is None else unit_of[key] for key in keys]


def _units_in(path: Path, by: str) -> dict[str, str | None]:
    """Image as the table calls it -> its unit."""
    try:
        table = read_table(path.read_bytes(), path.name)
    except OSError as error:
        raise DataError(f"A table must be readable. Got {error.strerror} at {path}.") from error
    columns = table.frame.columns
    if by not in columns:
        hint = did_you_mean(by, columns)
        raise DataError(f"--by must be a column of {path.name}. Got {by!r}, not among {', '.join(columns)}. {hint}")
    image = _image_column(table)
    units: dict[str, str | None] = {}
    for name, unit in zip(table.frame[image].to_list(), table.frame[by].to_list(), strict=True):
        if is_blank(name):
            continue
        key, value = str(PurePosixPath(str(name).strip())), None if is_blank(unit) else str(unit).strip()
        if units.setdefault(key, value) != value:
            raise DataError(f"An image must be of one {by}. Got {name!r} with two in {path.name}. Mend the table.")
    return units


def _image_column(table: Table) -> str:
    columns = columns_for(IMAGE, table.frame.columns, table=table.name)
    if "sample_id" in table.frame.columns:
        columns = [*columns, "sample_id"]
    if not columns:
        raise DataError(
            f"The table must have a column of image names, such as image or filename. Got "
            f"{', '.join(table.frame.columns)} in {table.name}. Name one of them so."
        )
    return columns[0]


def _callings(name: str) -> list[str]:
    """What a table may call an image: its path, the ends of its path, and these without suffix; the longest first."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    ends = [str(PurePosixPath(*parts[start:])) for start in range(len(parts))]
    return ends + [str(PurePosixPath(end).with_suffix("")) for end in ends]
