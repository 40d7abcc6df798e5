"""The columns of a manifest: their names and order, and what they must hold."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import polars as pl

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean
from chiron.spec.recipe import SplitRole

SPLITS: tuple[str, ...] = get_args(SplitRole)
FITTED_SPLITS = ("train", "val", "cal")  # what is learned from, chosen by and fitted on; the others are for testing
# Folder names that say which split their images belong to, in lower case.
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "cal": "cal",
    "test": "test",
    "external": "external",
}
STATUSES = ("ok", "unreadable", "excluded")  # excluded: left out on purpose, status_reason says why
ColumnRole = Literal["predictor", "technical", "reference_standard", "identifier", "date", "site", "subgroup"]
Certainty = Literal["certain", "inferred"]
ID_COLUMNS = ("sample_id", "unit_id", "patient_id", "group_id")
# In this order in every manifest, before the columns that are carried; `label` or `label_<class>` follow `path`.
BEFORE_LABEL = (*ID_COLUMNS, "path")
AFTER_LABEL = ("split", "status", "status_reason", "bytes_sha256", "pixels_sha256", "look_hash")
LABEL_PREFIX = "label_"
_ABSOLUTE = r"^(/|\\\\|[A-Za-z]:[/\\])"  # also of Windows
UNCERTAIN = -1  # a cell of label_<class>; 1 present, 0 absent, blank not assessed
# Codes of arrays of labels. They differ, so that a finding that nobody looked for is never one that somebody doubted.
UNKNOWN_LABEL, UNCERTAIN_LABEL = -1, -2


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """Blank text becomes null, optional columns are added, and the columns get their order."""
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    frame = frame.with_columns(
        pl.when(pl.col(text).str.strip_chars() == "").then(None).otherwise(pl.col(text)).name.keep() if text else []
    )
    optional = ("unit_id", "patient_id", "split", "status_reason", "bytes_sha256", "pixels_sha256", "look_hash")
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in optional if name not in frame.columns)
    if "status" not in frame.columns:
        frame = frame.with_columns(pl.lit("ok").alias("status"))
    if "group_id" not in frame.columns and "sample_id" in frame.columns:
        frame = frame.with_columns(("g-" + pl.col("sample_id")).alias("group_id"))
    labels = label_columns_of(frame.columns)
    first = [name for name in (*BEFORE_LABEL, *labels, *AFTER_LABEL) if name in frame.columns]
    return frame.select(*first, *[name for name in frame.columns if name not in first])


def label_columns_of(columns: Sequence[str]) -> list[str]:
    """`["label"]` where there is such a column, whatever others are called; else all columns `label_<class>`."""
    return ["label"] if "label" in columns else [name for name in columns if name.startswith(LABEL_PREFIX)]


def require_class_names(classes: Sequence[str]) -> None:
    """Stops where class names could be taken for one another, or break the header of a table, which is made of them.

    Raises:
        DataError: two names are the same but for case or white space around them, or a name holds a double quote or a
            line break.
    """
    for name in classes:
        if '"' in name or name.splitlines() != [name]:
            raise DataError(f"Class names must hold no double quote and no line break. Got {name!r}. Rename the class.")
    alike = defaultdict(list)
    for name in classes:
        alike[name.strip().casefold()].append(name)
    for names in alike.values():
        if len(names) > 1:
            raise DataError(
                "Class names must differ by more than case or white space around them. "
                f"Got {', '.join(map(repr, names))}. Use one spelling."
            )


def names_that_do_not_fit(names: Sequence[str], classes: Sequence[str]) -> str:
    """Why `names` cannot be given to `classes`."""
    strangers = [name for name in names if name not in classes]
    hint = next(filter(None, (did_you_mean(name, classes) for name in strangers)), "")
    return (
        "Class names must be the classes of the data in another order, or one name for each of the classes 0, 1, ... "
        f"Got the {len(names)} names {', '.join(names)} for the {len(classes)} classes {', '.join(classes)}. {hint} "
        "Change labels.names, or leave it out to keep the data's."
    ).replace("  ", " ")


def require_columns(frame: pl.DataFrame) -> None:
    """Stops at a table that is no manifest.

    Raises:
        DataError: naming the column that is missing.
    """
    columns = frame.columns
    for name in ("sample_id", "path"):
        if name not in columns:
            hint = did_you_mean(name, columns)
            raise DataError(f"A manifest must have the column {name!r}. Got {', '.join(columns)}. {hint}".rstrip())
    if not label_columns_of(columns):
        raise DataError(
            f"A manifest must have the column 'label' or one label_<class> a class. Got {', '.join(columns)}. "
            f"{did_you_mean('label', columns)} Rename the column that holds the classes.".replace(".  ", ". ")
        )


def check_columns(
    columns: Sequence[str],
    classes: Sequence[str],
    label_columns: Sequence[str],
    roles: Mapping[str, ColumnRole],
    id_certainty: Mapping[str, Certainty],
) -> None:
    """Stops where classes, roles or certainties do not belong to the columns.

    Raises:
        DataError: naming the first that does not.
    """
    require_class_names(classes)
    if missing := sorted(set(label_columns) - set(columns)):
        raise DataError(f"A manifest must have the column 'label' or one label_<class> a class. Got no {missing[0]!r}.")
    if extra := sorted(set(label_columns_of(columns)) - set(label_columns)):
        raise DataError(f"Label columns must be of known classes ({', '.join(classes)}). Got {extra[0]!r}.")
    for what, said, allowed in (
        ("role", roles, get_args(ColumnRole)),
        ("certainty", id_certainty, get_args(Certainty)),
    ):
        for name, value in said.items():
            if name not in columns or value not in allowed:
                raise DataError(
                    f"A {what} must be {', '.join(allowed)} and be given to a column of the manifest. "
                    f"Got {value!r} for {name!r}."
                )


def check_rows(frame: pl.DataFrame, classes: Sequence[str]) -> None:
    """Stops where a cell holds what it must not.

    Raises:
        DataError: missing or repeated ids, paths that are not relative, an unknown label, split or status.
    """
    for name in ("sample_id", "path", "group_id"):
        if frame[name].null_count():
            raise DataError(f"Every row of a manifest must have a {name}. Got {frame[name].null_count()} without one.")
    absolute = frame.filter(pl.col("path").cast(pl.String).str.contains(_ABSOLUTE))["path"]
    if len(absolute):
        raise DataError(
            f"In a manifest, paths must be relative to the manifest's folder. Got {absolute[0]!r}. "
            "Write them from there on, or from the folder that manifest.json beside it names as root."
        )
    repeated = frame.filter(frame["sample_id"].is_duplicated())["sample_id"].unique().sort().to_list()
    if repeated:
        raise DataError(
            f"Every row of a manifest must have its own sample_id. Got {len(repeated)} repeated: "
            f"{', '.join(repeated[:5])}. Rename or remove them."
        )
    allowed: dict[str, tuple[Any, ...]] = {"split": SPLITS, "status": STATUSES}
    labels = label_columns_of(frame.columns)
    allowed |= {"label": tuple(classes)} if labels == ["label"] else dict.fromkeys(labels, (0, 1, UNCERTAIN))
    for name, values in allowed.items():
        if strangers := sorted(set(map(str, frame[name].drop_nulls().unique())) - set(map(str, values))):
            listed, hint = ", ".join(map(str, values)), did_you_mean(strangers[0], map(str, values))
            raise DataError(f"The column {name} must hold {listed} or nothing. Got {strangers[0]!r}. {hint}".rstrip())
