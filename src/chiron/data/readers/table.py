"""Tables of labels: CSV or TSV with one row an image, beside their images or anywhere else.

Images by path, file name or id; classes by name, by whole number, or one column of 0 and 1 a class (ISIC); patients and
lesions by columns of those names; further tables are joined by image id. Tables called `train.csv`, `val_split.csv`,
`test.csv` ... are the splits.
"""

from chiron.data.readers._base import NO_MATCH, TABLE, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import read_tables, speak_for_the_images, tables_by_use

GROUPS: dict[str, str] = {}


def match(found: Found) -> int:
    """A table of labels that a person named, or one that names most of the images that are there."""
    if not found.tables:
        return NO_MATCH
    if found.tables_are_given and set(found.outside) != {found.metadata}:
        return TABLE
    labeled = tables_by_use(found)[0]
    return TABLE if labeled and speak_for_the_images(labeled, found) else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """What the tables say, in the order of their rows.

    Raises:
        DataError: no table of labels, or one with a mistake, told with its lines.
    """
    return read_tables(found)
