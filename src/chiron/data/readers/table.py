"""Tables of labels: CSV or TSV with one row an image, beside their images or anywhere else.

Images by path, file name or id; classes by name, by whole number, or one column of 0 and 1 a class (ISIC); patients and
lesions by columns of those names; further tables are joined by image id. Tables called `train.csv`, `val_split.csv`,
`test.csv` ... are the splits.
"""

from chiron.data.readers._base import NO_MATCH, TABLE, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import names_images, read_tables, tables_by_use

GROUPS: dict[str, str] = {}


def match(found: Found) -> int:
    """A table that a person named, or one with labels that names images which are there."""
    if not found.tables or found.tables_are_given:
        return TABLE if found.tables else NO_MATCH
    return TABLE if any(names_images(table, found) for table, _ in tables_by_use(found)[0]) else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """What the tables say, in the order of their rows.

    Raises:
        DataError: no table of labels, or one with a mistake, told with its lines.
    """
    return read_tables(found)
