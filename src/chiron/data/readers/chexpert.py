"""CheXpert: `train.csv` and `valid.csv` with Path, Sex, Age, Frontal/Lateral, AP/PA and a column a finding.

Source: Irvin et al. 2019, arXiv:1901.07031. 1 is present, 0 absent, -1 uncertain, blank not mentioned, which is taken
as not assessed. Patient and study stand in the path (`patient00001/study1/view1_frontal.jpg`). `valid.csv` is val.
"No Finding" is a class like the others; in the published `train.csv` it is 1 or blank, never 0.
"""

import re

import polars as pl

from chiron.core.errors import DataError
from chiron.data.readers._base import NO_MATCH, SPECIFIC, Reading
from chiron.data.readers._found import Found
from chiron.data.readers._tables import read_tables
from chiron.data.tables import Table

GROUPS: dict[str, str] = {}
FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_STUDY = re.compile(r"(?P<patient>patient\d+)/(?P<study>study\d+)/", re.IGNORECASE)
_OWN_FOLDER = re.compile(r"^(\./)?chexpert[^/]*/", re.IGNORECASE)  # paths begin with the name that the download had


def match(found: Found) -> int:
    """Specific: a table with the columns of this data set, and its findings."""
    return SPECIFIC if _tables(found) else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """One row an image, grouped by patient; findings that no image shows are left out and told.

    Raises:
        DataError: no such table, a path without patient and study, or a mistake of any table.
    """
    tables = _tables(found)
    if not tables:
        raise DataError(
            f"CheXpert comes with tables with the columns {', '.join(_COLUMNS)} and its findings. "
            f"Got none in {found.source.root}. Leave out --reader chexpert."
        )
    named = [name for name in FINDINGS if all(name in table.frame.columns for table in tables)]
    shown = [name for name in named if any(_shows(table.frame[name]) for table in tables)]
    unlike = {name for table in tables for name in FINDINGS if name in table.frame.columns} - set(shown)
    changed = {table.name: _with_ids(table, drop=unlike) for table in tables}
    reading = read_tables(found.with_tables(changed, labels="multi"))
    absent = [name for name in FINDINGS if name in unlike]
    told = [f"Findings that no image shows are left out: {', '.join(absent)}."] if absent else []
    return Reading(
        frame=reading.frame,
        classes=reading.classes,
        grouping=reading.grouping,
        roles={**reading.roles, "study_id": "identifier"},
        id_certainty=reading.id_certainty,
        notes=(*reading.notes, *told),
    )


def _tables(found: Found) -> list[Table]:
    fitting = []
    for name in found.tables:
        try:
            table = found.table(name)
        except DataError:
            continue
        columns = set(table.frame.columns)
        if {"Path", "Frontal/Lateral"} <= columns and columns & set(FINDINGS):
            fitting.append(table)
    return fitting


def _shows(column: pl.Series) -> bool:
    return bool((column.cast(pl.Float64, strict=False) == 1).any())


def _with_ids(table: Table, *, drop: set[str]) -> Table:
    """The table with patients and studies, and with paths from the data set's own folder on."""
    paths = table.frame["Path"].to_list()
    found = [_STUDY.search(path or "") for path in paths]
    if strange := [row for row, it in enumerate(found) if it is None]:
        raise DataError(
            f"Path must hold patient and study, as patient00001/study1/view1_frontal.jpg. Got {paths[strange[0]]!r} in "
            f"{table.where(strange)}. Add --reader table for other paths."
        )
    ids = [it.group("patient").lower() for it in found if it is not None]
    studies = [f"{it.group('patient')}/{it.group('study')}".lower() for it in found if it is not None]
    frame = table.frame.drop(set(table.frame.columns) & drop).with_columns(
        pl.Series("Path", [_OWN_FOLDER.sub("", path or "") for path in paths], pl.String),
        pl.Series("patient_id", ids, pl.String),
        pl.Series("study_id", studies, pl.String),
    )
    return Table(table.name, frame, table.lines)
