"""Names under which columns are known in the field, and the roles that follow from them."""

import re
from collections.abc import Iterable, Sequence

from chiron.core.errors import DataError
from chiron.data.manifest_columns import ColumnRole

IMAGE, LABEL, SPLIT = "image", "label", "split"
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    IMAGE: (
        "image", "image_id", "filename", "file_name", "image_name", "image_path", "filepath", "file_path", "path",
        "file", "img", "img_id", "isic_id", "image_index",
    ),
    LABEL: ("label", "dx", "diagnosis", "diagnostic", "class", "class_name", "target", "category", "finding_labels"),
    SPLIT: ("split", "partition", "subset"),
    "patient_id": ("patient_id", "patient", "patientid", "subject_id", "subject"),
    "group_id": ("group_id",),
    "path": ("path", "image_path", "filepath", "file_path"),
    "unit_id": ("unit_id", "lesion_id", "lesion", "lesionid"),
}  # fmt: skip
_ROLES: dict[ColumnRole, tuple[str, ...]] = {
    "predictor": (
        "age",
        "age_approx",
        "patient_age",
        "sex",
        "gender",
        "patient_gender",
        "male",
        "female",
        "localization",
        "anatom_site_general",
    ),
    "reference_standard": ("dx_type", "diagnosis_confirm_type", "biopsed"),
    "subgroup": ("skin_tone", "fitzpatrick", "fitspatrick", "fitzpatrick_skin_type", "ethnicity"),
    "technical": (
        "device",
        "camera",
        "scanner",
        "manufacturer",
        "image_type",
        "width",
        "height",
        "view_position",
        "frontal_lateral",
        "ap_pa",
    ),
    "site": ("site", "hospital", "center", "centre", "institution"),
    "date": ("date", "study_date", "acquisition_date"),
}  # fmt: skip
_ROLE_OF: dict[str, ColumnRole] = {name: role for role, names in _ROLES.items() for name in names}


def columns_for(what: str, columns: Sequence[str], *, table: str) -> list[str]:
    """The columns of a table that may hold `what` (image, label, split, path, or an id of a manifest), the best first.

    Raises:
        DataError: two columns are called by the same name but for case and signs.
    Example:
        >>> columns_for("image", ["Age", "path", "Image Name"], table="a.csv")
        ['Image Name', 'path']
    """
    plain: dict[str, str] = {}
    for column in columns:
        if plain.setdefault(plain_name(column), column) != column:
            raise DataError(
                f"Columns of a table must differ by more than case and signs. Got {plain[plain_name(column)]!r} and "
                f"{column!r} in {table}. Rename one."
            )
    return [plain[name] for name in COLUMN_NAMES[what] if name in plain]


def known_names(what: str) -> str:
    """The names that `columns_for` knows, for a message."""
    return ", ".join(COLUMN_NAMES[what])


def known_roles(columns: Iterable[str]) -> dict[str, ColumnRole]:
    """Roles of the columns whose names are widely used; all others have none until somebody gives them one."""
    return {column: _ROLE_OF[plain_name(column)] for column in columns if plain_name(column) in _ROLE_OF}


def plain_name(column: str) -> str:
    """A column's name as the lists here write it: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()).strip("_")
