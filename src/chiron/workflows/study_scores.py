"""The rows of a study's table: every training with its intervals, every arm with the mean of its seeds, baselines."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chiron.classifier import build_network
from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.units import at_unit
from chiron.decide.logit_adjustment import adjusted_logits, best_strength
from chiron.metrics.by_name import estimate_by_name
from chiron.metrics.cases import Cases, check_cases
from chiron.metrics.over_seeds import mean_over_folds, mean_over_seeds
from chiron.models.describe import count_macs, count_parameters
from chiron.spec.bundle_spec import network_of
from chiron.spec.study import ADJUSTED
from chiron.workflows.baselines import Rows
from chiron.workflows.data import label_space
from chiron.workflows.one_run import state_of
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.study_plan import PlannedRun, Study

_FEWEST_OF_A_SUBGROUP = 10  # cases with and without the rarest class's label, for a number at all


def cases_of_table(predictions: Predictions) -> Cases:
    """The cases of a table, one a row; where every row is its own group, groups are numbered by sample."""
    given = predictions.groups
    cases = check_cases(
        predictions.y_true,
        predictions.y_prob,
        classes=predictions.classes,
        positive=predictions.positive,
        groups=given or predictions.scored["sample_id"].cast(pl.String).to_list(),
    )
    return replace(cases, groups_given=given is not None)


def cases_for(metric: str, folder: Path, split: str = "test") -> tuple[Cases, float | None]:
    """What a metric of a run or baseline is computed of, and the strength of the adjustment where its name asks for it.

    Raises:
        DataError: the split has not been scored.
    """
    predictions = _table(folder, split)
    cases = cases_of_table(predictions)
    if not metric.startswith(ADJUSTED):
        return cases, None
    shares = Rows.of(Manifest.load(_manifest_of(folder)), ("train",)).class_shares
    val = _table(folder, "val")
    strength = best_strength(_log(val.y_prob), val.y_true, shares)
    logits = adjusted_logits(_log(predictions.y_prob), shares, strength)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    y_prob = raised / raised.sum(axis=1, keepdims=True)
    return replace(cases, y_prob=y_prob, y_pred=y_prob.argmax(axis=1)), strength


def run_row(study: Study, run: PlannedRun, split: str = "test") -> dict[str, Any]:
    """One training: how far it came, and its numbers with the intervals of the cases."""
    facts, state = RunFolder(run.folder).read_facts(), state_of(run.folder)
    row: dict[str, Any] = {
        "run": run.folder.name,
        "arm": run.arm,
        "seed": run.seed,
        "fold": run.fold,
        "status": state,
        "why": facts.get("failed") if state == "failed" else None,
        "best_epoch": facts.get("best_epoch"),
        "results": {},
    }
    if RunFolder(run.folder).is_scored(split):
        row["results"] = {name: _estimate(study, name, run.folder, split) for name in study.plan.metrics}
    return row


def scored_runs(study: Study) -> list[PlannedRun]:
    """The trainings of which test has been scored by the bundle as it is, in the order of the plan."""
    return [run for run in study.runs if RunFolder(run.folder).is_scored("test")]


def scored_arms(study: Study) -> list[str]:
    """The arms with a training among them, in the order of the plan."""
    scored = {run.arm for run in scored_runs(study)}
    return [name for name in study.plan.arms if name in scored]


def arm_row(study: Study, arm: str) -> dict[str, Any]:
    """One arm: what its network is and was given, and the mean of its trainings."""
    recipe, asked = study.recipes[arm], study.plan.arms[arm]
    scored = [run for run in scored_runs(study) if run.arm == arm]
    row: dict[str, Any] = {
        "arm": arm,
        "recipe": Path(asked.recipe).name if Path(asked.recipe).is_file() else asked.recipe,
        "model": recipe.model.name,
        "init": recipe.model.init,
        "pretraining": asked.pretraining,
        "img_size": recipe.input.img_size,
        "num_parameters": None,
        "num_macs": None,
        "epochs": recipe.train.epochs,
        "trials": study.trials(arm),
        "off_budget": study.off_budget(arm),
        "trainings": len(scored),
        "planned": len(study.plan.seeds) * len(study.folds),
        "results": {name: _mean(study, arm, name) for name in study.plan.metrics},
    }
    if scored:
        row |= _size(study, scored[0])
    return row


def _size(study: Study, run: PlannedRun) -> dict[str, int]:
    recipe = study.recipes[run.arm]
    labels = label_space(recipe, Manifest.load(run.folder))
    network = build_network(network_of(recipe.model), recipe.input, labels)
    return {
        "num_parameters": count_parameters(network)["total"],
        "num_macs": count_macs(network, recipe.input.in_chans, recipe.input.img_size),
    }


def _mean(study: Study, arm: str, metric: str) -> dict[str, Any] | None:
    """The mean over seeds, and over folds of that; None where a fold has no training."""
    means = []
    for fold in study.folds:
        cases = arm_cases(study, arm, metric, fold)
        if not cases:
            return None
        means.append(mean_over_seeds(metric.removeprefix(ADJUSTED), cases, **_how(study)))
    if len(means) == 1:
        return asdict(means[0])
    return asdict(mean_over_folds(means)) if len({len(it.values) for it in means}) == 1 else None


def arm_cases(study: Study, arm: str, metric: str, fold: int | None) -> list[Cases]:
    """What the metric is computed of in every scored training of an arm, in the order of the seeds."""
    runs = [run for run in scored_runs(study) if (run.arm, run.fold) == (arm, fold)]
    return [cases_for(metric, run.folder)[0] for run in runs]


def baseline_row(study: Study, name: str) -> dict[str, Any]:
    """One baseline on the same images; over folds the mean of the folds."""
    folders = [baseline_folder(study, name, fold) for fold in study.folds]
    facts = _table(folders[0], "test").facts
    results: dict[str, Any] = {}
    for metric in study.plan.metrics:
        if len(folders) == 1:
            results[metric] = _estimate(study, metric, folders[0], "test")
        else:
            plain = metric.removeprefix(ADJUSTED)
            means = [mean_over_seeds(plain, [cases_for(metric, folder)[0]], **_how(study)) for folder in folders]
            results[metric] = asdict(mean_over_folds(means))
    return {"name": name, "setting": facts.get("setting"), "of": facts.get("features"), "results": results}


def baseline_folder(study: Study, name: str, fold: int | None) -> Path:
    """Where the tables of a baseline lie."""
    return study.out / "baselines" / (name if fold is None else f"{name}_fold-{fold}")


def subgroup_rows(study: Study, arm: str) -> list[dict[str, Any]]:
    """The primary metric of an arm by the values of the plan's columns; few cases are counts alone."""
    rows = []
    for column in study.plan.subgroups:
        runs = [run for run in scored_runs(study) if (run.arm, run.fold) == (arm, study.folds[0])]
        tables = [_table(run.folder, "test") for run in runs]
        values = tables[0].scored[column].cast(pl.String).fill_null("(missing)") if tables else pl.Series([])
        for value in sorted(values.unique()):
            chosen = (values == value).to_numpy()
            rows.append({"arm": arm, "column": column, "value": value} | _of_subgroup(study, arm, chosen))
    return rows


def _of_subgroup(study: Study, arm: str, chosen: np.ndarray) -> dict[str, Any]:
    cases = [_some_rows(it, chosen) for it in arm_cases(study, arm, study.plan.metric, study.folds[0])]
    sides = np.bincount(cases[0].y_true, minlength=cases[0].num_classes)
    told: dict[str, Any] = {"cases": int(chosen.sum()), "groups": cases[0].num_groups, "result": None}
    if sides.min() < _FEWEST_OF_A_SUBGROUP:
        return told | {"note": f"under {_FEWEST_OF_A_SUBGROUP} of a class"}
    return told | {"result": asdict(mean_over_seeds(study.plan.metric.removeprefix(ADJUSTED), cases, **_how(study)))}


def _some_rows(cases: Cases, chosen: np.ndarray) -> Cases:
    index = np.unique(cases.group_index[chosen], return_inverse=True)[1].astype(np.int64)
    arrays = {name: getattr(cases, name)[chosen] for name in ("y_true", "y_prob", "y_pred")}
    return replace(cases, group_index=index, num_groups=int(index.max()) + 1, **arrays)


def rehearse(study: Study, runs: Sequence[PlannedRun]) -> None:
    """Computes on val all that will be asked of test, so that a mistake in the plan is told before the first look.

    Raises:
        MetricError, SpecError: a metric without a value for these classes, or a subgroup that is no column.
    """
    for run in runs[:1]:
        for name in study.plan.metrics:
            _estimate(study, name, run.folder, "val")
        columns = _table(run.folder, "val").frame.columns
        for column in study.plan.subgroups:
            if column not in columns:
                raise SpecError(
                    f"A subgroup must be a column of the data. Got {column!r}. There are {', '.join(columns)}."
                )


def _estimate(study: Study, metric: str, folder: Path, split: str) -> dict[str, Any]:
    cases, strength = cases_for(metric, folder, split)
    found = asdict(estimate_by_name(metric.removeprefix(ADJUSTED), cases, **_how(study)))
    return found if strength is None else found | {"strength": strength}


def _how(study: Study) -> dict[str, Any]:
    settings = next(iter(study.recipes.values())).evaluate
    return {"num_resamples": settings.num_resamples, "confidence": settings.confidence}


def _table(folder: Path, split: str) -> Predictions:
    """One row a case of the study: what its unit is stands in the decision of every table."""
    path = RunFolder(folder).predictions(split)
    if not path.is_file():
        raise DataError(f"A study needs the predictions of {split}. Got none in {folder}. Run it again with --resume.")
    table = Predictions.load(path)
    return at_unit(table, table.decision).predictions


def _manifest_of(folder: Path) -> Path:
    """The folder with the manifest: the run's own, or for a baseline that of the run its table names."""
    if (folder / "manifest.csv").is_file():
        return folder
    return folder.parents[1] / "runs" / _table(folder, "test").facts["manifest_of"]


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs, 1e-300))
