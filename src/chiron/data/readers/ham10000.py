"""HAM10000: `HAM10000_metadata.csv` (or metadata.csv, .tab) with lesion_id, image_id, dx; images in any folders.

Source: Tschandl et al. 2018, doi:10.1038/sdata.2018.161. 10,015 images of 7,470 lesions in 7 classes; patients are not
known. `dx_type` says how a label was made: every follow-up is a nevus, so it reveals the answer and is no input.
"""

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean
from chiron.data.readers._base import NO_MATCH, SPECIFIC, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import read_tables, tables_by_use
from chiron.data.tables import Table

GROUPS: dict[str, str] = {}
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
_COLUMNS = ("lesion_id", "image_id", "dx")


def match(found: Found) -> int:
    """Specific: the one table of labels has the columns of this data set, and names images that are there."""
    return NO_MATCH if _metadata(found) is None else SPECIFIC


def read(found: Found, *, groups: str | None = None) -> Reading:
    """One row an image, grouped by lesion.

    Raises:
        DataError: no such table, a diagnosis that is none of the seven, or a mistake of any table.
    """
    table = _metadata(found)
    if table is None:
        raise DataError(
            f"HAM10000 comes with one table of labels with the columns {', '.join(_COLUMNS)}. "
            f"Got none in {found.source.root}. Leave out --reader ham10000."
        )
    strange = ~table.frame["dx"].is_in(CLASSES)  # a blank one is null here, and unlabeled
    if strange.any():
        name = table.frame["dx"].filter(strange)[0]
        raise DataError(
            f"dx must be one of {', '.join(CLASSES)}. Got {name!r} in {table.where(strange.arg_true())}. "
            f"{did_you_mean(name, CLASSES) or 'Add --reader table for other classes.'}"
        )
    return read_tables(found)


def _metadata(found: Found) -> Table | None:
    """The table of labels, where it is the only one and has this data set's columns."""
    labeled = [said.table for said in tables_by_use(found)[0]] if found.tables else []
    return labeled[0] if len(labeled) == 1 and set(_COLUMNS) <= set(labeled[0].frame.columns) else None
