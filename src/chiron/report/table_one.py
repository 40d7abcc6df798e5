"""Table 1: who is in each split. Counts, and the metadata whose role allows to show it, with what is missing."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS, label_columns_of
from chiron.data.split import UNASSIGNED
from chiron.report.standardized_difference import of_means, of_shares

SHOWN_ROLES = ("predictor", "subgroup")
MOST_LEVELS = 8  # of a column with names; rarer ones are counted together
OTHERS = "all others"
MEAN = "mean (SD)"
MISSING = "missing"
# Columns that every manifest or table has for its own use.
_OWN = (
    *("sample_id", "unit_id", "patient_id", "group_id", "path", "split", "status", "status_reason"),
    *("bytes_sha256", "pixels_sha256", "look_hash", "fold", "seed", "model_id", "y_true"),
)


def carried_columns(frame: pl.DataFrame) -> list[str]:
    """Metadata that a manifest or a table of predictions carries beside its own columns."""
    labels = label_columns_of(frame.columns)
    own = {*_OWN, *labels}
    return [name for name in frame.columns if name not in own and not name.startswith(("logit_", "prob_"))]


def table_one(manifest: Manifest) -> dict[str, Any]:
    """Plain values: totals a split, and one entry a metadata column with a role that may be shown.

    Keys: splits (role -> images, groups, patients), columns (name, role, kind, rows: label -> split -> cell,
    differences: label -> standardized difference of the two splits of `compared_splits`, absent without two). Readable
    images only. A cell of numbers is (mean, SD), of names (images, share of the images with a value); the row "missing"
    counts images without a value.
    """
    frame = manifest.frame.filter(pl.col("status") == "ok").with_columns(pl.col("split").fill_null(UNASSIGNED))
    present = set(frame["split"])
    parts = {role: frame.filter(pl.col("split") == role) for role in (*SPLITS, UNASSIGNED) if role in present}
    shown = [name for name in carried_columns(frame) if manifest.roles.get(name) in SHOWN_ROLES]
    totals = {role: _totals(rows) for role, rows in parts.items()}
    columns = [{"name": name, "role": manifest.roles[name], **_column(name, frame[name], parts)} for name in shown]
    if compared := compared_splits(list(parts)):
        sizes = [totals[role]["images"] or 0 for role in compared]
        columns = [{**column, "differences": _differences(column, compared, sizes)} for column in columns]
    return {"splits": totals, "columns": columns}


def compared_splits(roles: Sequence[str]) -> tuple[str, str] | None:
    """The splits whose difference Table 1 tells: train, and test or what stands in its place."""
    other = next((role for role in ("test", "external", "val") if role in roles), None)
    return ("train", other) if other and "train" in roles else None


def _differences(column: dict[str, Any], compared: tuple[str, str], sizes: Sequence[int]) -> dict[str, float | None]:
    """A standardized difference a row; missing values as their share of all images."""
    found: dict[str, float | None] = {}
    for label, cells in column["rows"]:
        first, second = (cells[role] for role in compared)
        if label == MISSING:
            found[label] = of_shares(first / sizes[0], second / sizes[1])
        elif column["kind"] == "number":
            found[label] = of_means(first, second)
        else:
            found[label] = of_shares(first[1], second[1]) if first and second else None
    return found


def _totals(rows: pl.DataFrame) -> dict[str, int | None]:
    known = not rows["patient_id"].null_count()
    return {
        "images": rows.height,
        "groups": rows["group_id"].n_unique(),
        "patients": rows["patient_id"].n_unique() if known else None,
    }


def _column(name: str, everything: pl.Series, parts: dict[str, pl.DataFrame]) -> dict[str, Any]:
    values = {role: rows[name].drop_nulls() for role, rows in parts.items()}
    missing = {role: rows[name].null_count() for role, rows in parts.items()}
    numbers = _as_numbers(everything)
    if numbers is not None:
        cells = {role: _mean_and_sd(_as_numbers(column)) for role, column in values.items()}
        return {"kind": "number", "rows": [(MEAN, cells), (MISSING, missing)]}
    texts = {role: column.cast(pl.String) for role, column in values.items()}
    levels = _levels(everything.drop_nulls().cast(pl.String))
    rows = [(level, {role: _share(column, level, levels) for role, column in texts.items()}) for level in levels]
    return {"kind": "name", "rows": [*rows, (MISSING, missing)]}


def _as_numbers(column: pl.Series) -> pl.Series | None:
    """The column as numbers when every value that is there is one; else None. A code with few values stays a name."""
    if column.dtype == pl.Boolean:
        return None
    numbers = column.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == column.null_count() and numbers.drop_nulls().is_finite().all() else None


def _mean_and_sd(numbers: pl.Series | None) -> tuple[float, float | None] | None:
    if numbers is None or not len(numbers):
        return None
    deviation = numbers.std()
    return float(numbers.mean()), None if deviation is None else float(deviation)  # type: ignore[arg-type]


def _levels(values: pl.Series) -> list[str]:
    """The commonest values, equal ones by name; beyond `MOST_LEVELS` one row for all others."""
    counted = sorted(values.value_counts().iter_rows(), key=lambda pair: (-pair[1], pair[0]))
    names = [name for name, _ in counted]
    return names if len(names) <= MOST_LEVELS else [*names[: MOST_LEVELS - 1], OTHERS]


def _share(values: pl.Series, level: str, levels: Sequence[str]) -> tuple[int, float] | None:
    if not len(values):
        return None
    named = [name for name in levels if name != OTHERS]
    images = int((~values.is_in(named)).sum() if level == OTHERS else (values == level).sum())
    return images, images / len(values)
