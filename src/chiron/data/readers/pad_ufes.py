"""PAD-UFES-20: `metadata.csv` with patient_id, lesion_id, img_id, diagnostic, biopsed; images in any folders.

Source: Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221. 2,298 smartphone images of 1,641 lesions of 1,373 patients
in 6 classes. `biopsed` says how a label was made: all cancers are biopsied and most others are not, so that it reveals
the answer and is no input.
"""

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean
from chiron.data.readers._base import NO_MATCH, SPECIFIC, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import read_tables, tables_by_use
from chiron.data.tables import Table

GROUPS: dict[str, str] = {}
CLASSES = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
_COLUMNS = ("patient_id", "lesion_id", "img_id", "diagnostic")


def match(found: Found) -> int:
    """Specific: the one table of labels has the columns of this data set."""
    return NO_MATCH if _metadata(found) is None else SPECIFIC


def read(found: Found, *, groups: str | None = None) -> Reading:
    """One row an image, grouped by patient and lesion.

    Raises:
        DataError: no such table, a diagnosis that is none of the six, or a mistake of any table.
    """
    table = _metadata(found)
    if table is None:
        raise DataError(
            f"PAD-UFES-20 comes with one table of labels with the columns {', '.join(_COLUMNS)}. "
            f"Got none in {found.source.root}. Leave out --reader pad_ufes."
        )
    strange = ~table.frame["diagnostic"].is_in(CLASSES)
    if strange.any():
        name = table.frame["diagnostic"].filter(strange)[0]
        raise DataError(
            f"diagnostic must be one of {', '.join(CLASSES)}. Got {name!r} in {table.where(strange.arg_true())}. "
            f"{did_you_mean(name, CLASSES) or 'Add --reader table for other classes.'}"
        )
    reading = read_tables(found)
    region = {"region": "predictor"} if "region" in reading.frame.columns else {}
    return Reading(
        frame=reading.frame,
        classes=reading.classes,
        grouping=reading.grouping,
        roles={**reading.roles, **region},  # type: ignore[dict-item]
        id_certainty=reading.id_certainty,
        notes=reading.notes,
    )


def _metadata(found: Found) -> Table | None:
    """The table of labels, where it is the only one and has this data set's columns."""
    labeled = [said.table for said in tables_by_use(found)[0]] if found.tables else []
    return labeled[0] if len(labeled) == 1 and set(_COLUMNS) <= set(labeled[0].frame.columns) else None
