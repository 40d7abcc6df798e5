"""The tables of a comparison: found from runs, evaluation folders or CSV files, and brought to the same cases."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.core.errors import DataError, SpecError
from chiron.data.groups import connected_groups
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.units import UNIT_COLUMNS, at_unit, unit_names
from chiron.spec.decision import Unit
from chiron.workflows.run_folder import RunFolder, is_run, require_whole
from chiron.workflows.stored import RUN_SPLITS, require_of_bundle

SPLIT_ORDER = ("test", "external", "val", "cal")  # the first one that every run has scored
SHOWN = 3  # ids in a message


@dataclass(frozen=True)
class Source:
    """A table of predictions by name; `path` is its CSV file."""

    name: str
    path: Path


@dataclass(frozen=True)
class CommonCases:
    """The same cases in the same order for every table: labels, groups, and each table's probabilities.

    `y_true` is a class's place in `classes`, or of several labels 1, 0 or NaN a class. `left_out` counts, by table, the
    cases that some other table lacks.
    """

    ids: list[str]
    y_true: np.ndarray
    y_prob: Mapping[str, Float[np.ndarray, "n classes"]]
    groups: list[str] | None
    classes: tuple[str, ...]
    positive: str | None
    is_multi_label: bool
    left_out: Mapping[str, int]
    unit: Unit


@dataclass(frozen=True)
class _Rows:
    """The scored cases of one table, at the unit that is compared."""

    ids: list[str]
    y_true: np.ndarray
    y_prob: np.ndarray
    groups: list[str] | None


def find_sources(targets: Sequence[str], split: str | None) -> tuple[list[Source], str | None]:
    """The tables that `PATH` or `NAME=PATH` mean, each under its own name, and the split of those of runs.

    Raises:
        SpecError: a target is none of the three kinds, or two have the same name.
        DataError: no split has been scored by all runs.
    """
    named = [_named(target) for target in targets]
    runs = [RunFolder(path) for _, path in named if is_run(path)]
    chosen = _split_of(runs, split)
    sources = [Source(name, _table_of(path, chosen)) for name, path in named]
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(
            f"Every model needs its own name. Got {', '.join(repeated)} more than once. Write NAME=PATH for each."
        )
    return sources, chosen


def find_methods(targets: Sequence[str], split: str | None) -> tuple[dict[str, list[Source]], str | None]:
    """The tables of each method, from `NAME=PATTERN`; the pattern may name several runs with `*`.

    Raises:
        SpecError: a target is not of this form, or its pattern finds nothing.
        DataError: no split has been scored by all runs.
    """
    found: dict[str, list[Path]] = {}
    for target in targets:
        name, equals, pattern = target.partition("=")
        if not equals or not name:
            raise SpecError(f"With --methods write NAME=RUNS, for example cnn=runs/cnn-*. Got {target}.")
        paths = sorted(Path(path) for path in glob.glob(pattern))
        if not paths:
            raise SpecError(f"A method needs runs or tables. Got nothing at {pattern} for {name}. Check the pattern.")
        found.setdefault(name, []).extend(paths)
    chosen = _split_of([RunFolder(path) for paths in found.values() for path in paths if is_run(path)], split)
    return {
        name: [Source(f"{name} {path.name or path.parent.name}", _table_of(path, chosen)) for path in paths]
        for name, paths in found.items()
    }, chosen


def common_cases(
    sources: Sequence[Source], *, positive: str | None, common: bool, unit: Unit | None = None
) -> CommonCases:
    """The cases of all tables; with `common` those that every table holds, else all tables must hold the same.

    Args:
        unit: what a case is; by default what the models' own decisions say.
    Raises:
        DataError: cases, labels, classes or units differ.
    """
    stored = {source.name: Predictions.load(source.path, positive=positive) for source in sources}
    units = {name: unit or table.decision.unit for name, table in stored.items()}
    if len(set(units.values())) > 1:
        told = ", ".join(f"{own} in {name}" for name, own in units.items())
        raise DataError(f"Compared models must answer for the same unit. Got {told}. Name it with --unit.")
    tables = {name: _at(table, unit) for name, table in stored.items()}
    first = next(iter(tables.values()))
    for name, table in tables.items():
        _require_same_kind(first, table, name)
    rows = {name: _rows_of(table, first.classes) for name, table in tables.items()}
    ids = _ids_of_all({name: of_one.ids for name, of_one in rows.items()}, common=common)
    aligned = {name: _take(of_one, ids) for name, of_one in rows.items()}
    _require_same_labels(aligned, ids)
    return CommonCases(
        ids=ids,
        y_true=next(iter(aligned.values())).y_true,
        y_prob={name: of_one.y_prob for name, of_one in aligned.items()},
        groups=_joined_groups([of_one.groups for of_one in aligned.values()], ids),
        classes=first.classes,
        positive=next((table.positive for table in tables.values() if table.positive), None),
        is_multi_label=first.is_multi_label,
        left_out={name: len(of_one.ids) - len(ids) for name, of_one in rows.items()},
        unit=next(iter(units.values())),
    )


def fold_sources(methods: Mapping[str, Sequence[Source]]) -> list[dict[str, list[Source]]] | None:
    """The tables of each fold by method, where tables hold parts of the data that share no case; None where not.

    Raises:
        DataError: the parts are not the same ones for every method.
    """
    cases_of = {source.name: _scored_ids(source) for sources in methods.values() for source in sources}
    parts = list(dict.fromkeys(cases_of.values()))
    if len(parts) < 2 or sum(len(part) for part in parts) > len(frozenset().union(*parts)):
        return None
    folds = [
        {method: [s for s in sources if cases_of[s.name] == part] for method, sources in methods.items()}
        for part in parts
    ]
    lacking = [method for method in methods if any(not fold[method] for fold in folds)]
    if lacking:
        raise DataError(
            f"Every method must have a run for each of the {len(folds)} folds. Got none in some fold for "
            f"{', '.join(lacking)}. Train the folds that lack, with the same split for all methods."
        )
    return folds


def num_trained_on(source: Source, unit: Unit) -> int | None:
    """Cases of the split `train` of the run that made a table; None of a table from elsewhere.

    Cases of val choose an epoch and teach no weight, so they do not count.
    """
    folder = source.path.parent.parent
    if not is_run(folder):
        return None
    rows = Manifest.load(folder).select("train").frame.filter(pl.col("status") == "ok")
    ids = rows["sample_id"].to_list()
    return len(ids) if unit == "image" else len(set(unit_names(ids, rows[UNIT_COLUMNS[unit]].to_list())[0]))


def _named(target: str) -> tuple[str, Path]:
    name, equals, path = target.partition("=")
    if equals and name and not Path(target).exists():
        return name, Path(path)
    found = Path(target)
    own = found.resolve()
    if own.suffix.lower() != ".csv":
        return own.name, found
    return (own.parent.name if own.stem == "predictions" else own.stem), found


def _split_of(runs: Sequence[RunFolder], split: str | None) -> str | None:
    """The split of the runs; None without any run."""
    if split is not None and split not in RUN_SPLITS:
        raise SpecError(f"The split of runs must be {', '.join(RUN_SPLITS)}. Got {split!r}.")
    if not runs and split is not None:
        raise SpecError("--split is of run folders. Got tables, which hold one split each. Leave it out.")
    if not runs:
        return None
    choices = SPLIT_ORDER if split is None else (split,)
    for choice in choices:
        if all(run.predictions(choice).is_file() for run in runs):
            return choice
    lacking = [run.path for run in runs if not run.predictions(choices[0]).is_file()]
    raise DataError(
        f"A comparison needs a split that every run has scored. Got none of {', '.join(choices)}; "
        f"{choices[0]} lacks in {len(lacking)} of {len(runs)} runs. Score it with `chiron evaluate {lacking[0]} "
        f"--split {choices[0]}`."
    )


def _table_of(path: Path, split: str | None) -> Path:
    if is_run(path) and split is not None:
        require_whole(RunFolder(path))
        require_of_bundle(RunFolder(path), split)
        return RunFolder(path).predictions(split)
    if (path / "predictions.csv").is_file():
        return path / "predictions.csv"
    if path.suffix.lower() == ".csv" and path.is_file():
        return path
    raise SpecError(
        f"chiron compare takes run folders, folders that `chiron evaluate` wrote, and predictions CSVs. Got {path}. "
        "Check the path."
    )


def _at(table: Predictions, unit: Unit | None) -> Predictions:
    """The table with one row a unit, its own decision's by default."""
    decision = table.decision if unit is None else table.decision.model_copy(update={"unit": unit})
    return at_unit(table, decision).predictions


def _rows_of(table: Predictions, classes: tuple[str, ...]) -> _Rows:
    """Cases as they are compared, one a scored row; columns in the order of `classes`."""
    places = [table.classes.index(name) for name in classes]
    y_true = table.y_true
    if table.is_multi_label:
        y_true = y_true[:, places]
    elif table.classes != classes:
        y_true = np.array([classes.index(table.classes[k]) for k in y_true], dtype=np.int64)
    ids = [str(name) for name in table.scored["sample_id"]]
    if not ids:
        raise DataError("A comparison needs images with a reference label. Got a table without any of status ok.")
    return _Rows(ids, y_true, table.y_prob[:, places], table.groups)


def _scored_ids(source: Source) -> frozenset[str]:
    return frozenset(str(name) for name in Predictions.load(source.path).scored["sample_id"])


def _require_same_kind(first: Predictions, other: Predictions, name: str) -> None:
    if set(first.classes) != set(other.classes) or first.is_multi_label != other.is_multi_label:
        raise DataError(
            f"Compared tables must have the same classes ({', '.join(first.classes)}). Got {', '.join(other.classes)} "
            f"in {name}. Compare models of the same classes."
        )
    if first.positive and other.positive and first.positive != other.positive:
        raise DataError(
            f"Compared tables must have the same positive class. Got {first.positive} and in {name} {other.positive}. "
            "Name it with --positive."
        )


def _ids_of_all(ids: Mapping[str, list[str]], *, common: bool) -> list[str]:
    sets = {name: set(of_one) for name, of_one in ids.items()}
    shared = set.intersection(*sets.values())
    if any(len(of_one) != len(shared) for of_one in sets.values()):
        counts = ", ".join(f"{len(of_one):,} in {name}" for name, of_one in sets.items())
        if not common or not shared:
            advice = "Score the same images" if not shared else "Score the same images, or compare these with --common"
            raise DataError(
                f"Compared tables must hold the same cases. Got {counts}, {len(shared):,} in all. {advice}."
            )
    return sorted(shared)


def _take(rows: _Rows, ids: Sequence[str]) -> _Rows:
    place = {name: k for k, name in enumerate(rows.ids)}
    order = np.array([place[name] for name in ids])
    groups = None if rows.groups is None else [rows.groups[k] for k in order]
    return _Rows(list(ids), rows.y_true[order], rows.y_prob[order], groups)


def _require_same_labels(rows: Mapping[str, _Rows], ids: Sequence[str]) -> None:
    (first_name, first), *others = rows.items()
    for name, other in others:
        same = (first.y_true == other.y_true) | ((first.y_true != first.y_true) & (other.y_true != other.y_true))
        different = np.flatnonzero(~same.reshape(len(ids), -1).all(axis=1))
        if len(different):
            shown = ", ".join(ids[k] for k in different[:SHOWN])
            raise DataError(
                f"Compared tables must have the same labels. Got {len(different):,} of {len(ids):,} cases with other "
                f"labels in {name} than in {first_name} ({shown}). Score both with one reference standard."
            )


def _joined_groups(groups: Sequence[list[str] | None], ids: Sequence[str]) -> list[str] | None:
    """Groups in which cases stay together that any table keeps together."""
    known = [of_one for of_one in groups if of_one is not None]
    return connected_groups(ids, known) if known else None
