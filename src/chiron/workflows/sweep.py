"""`chiron sweep`: independent resumable trainings that differ in some keys, compared on val.

Every run is an ordinary run folder. Several processes, also of several machines, may work on one folder: each takes the
next piece of work that nobody has, until none is left. The test split is never scored here.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from chiron.core.errors import SpecError
from chiron.core.files import require_outside, write_text
from chiron.core.job import require_alone
from chiron.core.lazy import require_package
from chiron.data.predictions import Predictions
from chiron.metrics.estimator import Estimator
from chiron.metrics.metric import registered_metrics
from chiron.spec.sweep import SweepRecipe, read_sweep
from chiron.workflows.fit_check import cases_of
from chiron.workflows.numbers import compute_numbers
from chiron.workflows.one_run import DONE, claimed_run, state_of, status_of, train_run
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.stored import stored_run
from chiron.workflows.sweep_plan import Plan, keep_settings, make_plan
from chiron.workflows.sweep_search import next_trial, trials_of

# Runs that differ in these alone are repetitions: they are averaged, and none of them is the best.
REPETITIONS = ("data.fold", "data.split_seed", "train.seed")


def sweep(
    file: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    trials: int | None = None,
    ray: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """Trains what the sweep names and is not trained yet, and compares all its runs.

    Args:
        file: the sweep, a YAML file; see `chiron.spec.sweep`.
        data: images, as for `train`.
        out: folder of the run folders; the same one again continues.
        trials: of a search, instead of what the file says.
        ray: work through Ray, on the cluster that RAY_ADDRESS names or on this machine.

    Returns:
        The content of `sweep.json`: runs with the val metric and its interval, settings with their mean over
        repetitions, and the best of these.

    Raises:
        SpecError: a mistake in the sweep or in any of its recipes, before anything runs; another sweep in `out`.
    """
    require_alone("sweep")
    asked = read_sweep(Path(file))
    options: dict[str, Any] = {"device": device, "threads": threads}
    return run_sweep(asked, Path(data), Path(out), trials=trials, ray=ray, **options)


def run_sweep(
    asked: SweepRecipe,
    data: Path,
    out: Path,
    *,
    trials: int | None = None,
    ray: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """`sweep` of one that is read already."""
    if trials is not None:
        if not asked.search:
            raise SpecError("A grid trains every combination. Got --trials. Leave it out.")
        asked = asked.model_copy(update={"trials": trials})
    plan = make_plan(asked, data.resolve(), out, device=device, threads=threads)
    require_outside(plan.out, plan.data)
    if not plan.data.exists():  # before anything is kept in `out` that names it
        raise SpecError(f"A sweep needs images. Got no file or folder at {plan.data}. Check --data.")
    if asked.search:
        require_package("optuna", extra="sweep", for_what="A sweep with search")
    keep_settings(plan)
    if ray:
        _work_with_ray(plan)
    else:
        while take_next(plan):
            pass
    return _write(plan, compare(plan))


def take_next(plan: Plan) -> bool:
    """Does the next run or trial that nobody works on or has done; False when there is none."""
    if plan.sweep.search:
        return _take_trial(plan)
    for settings in plan.sweep.combinations:
        folder = plan.folder(settings)
        if status_of(folder) in DONE:
            continue
        with claimed_run(folder) as mine:
            if mine and status_of(folder) not in DONE:
                _train(plan, settings, folder)
                return True
    return False


def _take_trial(plan: Plan) -> bool:
    with next_trial(plan) as taken:
        if taken is None:
            return False
        trial, tell = taken
        folders = []
        for combination in plan.sweep.combinations:
            settings = trial.settings | combination
            folders.append(plan.folder(settings, trial.number))
            if status_of(folders[-1]) not in DONE:
                with claimed_run(folders[-1]):
                    _train(plan, settings, folders[-1])
        values = [
            val_estimate(RunFolder(folder), plan.metric)["value"]
            for folder in folders
            if status_of(folder) == "finished"
        ]
        known = [value for value in values if value is not None]
        tell(fmean(known) if len(known) == len(folders) else None)
    return True


def _train(plan: Plan, settings: Mapping[str, Any], folder: Path) -> None:
    train_run(
        plan.sweep.recipe,
        plan.data,
        folder,
        overrides=plan.overrides(settings),
        device=plan.device,
        threads=plan.threads,
    )


def _work_with_ray(plan: Plan) -> None:
    """Every run or trial a task of Ray; the folder and the images must be reachable from all its machines."""
    ray = require_package("ray", extra="ray", for_what="--ray")
    if not ray.is_initialized():
        ray.init()
    num_gpus = 1 if plan.device.startswith("cuda") else 0
    task = ray.remote(num_cpus=plan.threads or 1, num_gpus=num_gpus, max_retries=0)(take_next)
    ray.get([task.remote(plan) for _ in range(plan.num_units)])


def compare(plan: Plan) -> dict[str, Any]:
    """All runs of the sweep with their val metric, and settings with the mean of their repetitions."""
    planned: Iterable[tuple[int | None, dict[str, Any]]] = [(None, settings) for settings in plan.sweep.combinations]
    if plan.sweep.search:
        planned = [
            (trial.number, trial.settings | combination)
            for trial in trials_of(plan)
            for combination in plan.sweep.combinations
        ]
    runs = [_row(plan, settings, trial) for trial, settings in planned]
    candidates = _candidates(runs)
    whole = [candidate for candidate in candidates if candidate["mean"] is not None]
    best = None
    if len(candidates) > 1 and whole:
        best = (max if plan.maximize else min)(whole, key=lambda candidate: candidate["mean"])
    return {
        "recipe": plan.sweep.recipe,
        "metric": plan.metric,
        "direction": "up" if plan.maximize else "down",
        "split": "val",
        "runs": runs,
        "settings": candidates,
        "best": best,
        "note": "Values are of val, which chose the epoch of every run and the best settings, so that they promise too "
        "much; the test split was not scored.",
    }


def _row(plan: Plan, settings: dict[str, Any], trial: int | None) -> dict[str, Any]:
    folder = plan.folder(settings, trial)
    state, run = state_of(folder), RunFolder(folder)
    found = val_estimate(run, plan.metric) if state == "finished" else {}
    facts = run.read_facts()
    return {
        "run": folder.name,
        "trial": trial,
        "settings": settings,
        "status": state,
        "value": found.get("value"),
        "low": found.get("low"),
        "high": found.get("high"),
        "best_epoch": facts.get("best_epoch"),
        "why": facts.get("failed") if state == "failed" else found.get("note"),
    }


def _candidates(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Settings without what only repeats; the mean stands only where every repetition has a value."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        own = {key: value for key, value in run["settings"].items() if key not in REPETITIONS}
        groups.setdefault(json.dumps([run["trial"], own]), []).append(run)
    candidates = []
    for text, members in groups.items():
        values = [run["value"] for run in members if run["value"] is not None]
        whole = len(values) == len(members)
        candidates.append(
            {
                "settings": json.loads(text)[1],
                "runs": [run["run"] for run in members],
                "mean": fmean(values) if whole else None,
                "lowest": min(values) if whole else None,
                "highest": max(values) if whole else None,
            }
        )
    return candidates


def val_estimate(run: RunFolder, metric: str) -> dict[str, Any]:
    """The metric on val with its interval, from the stored table.

    Raises:
        SpecError: val is not evaluated by this metric.
    """
    if metric == "loss":
        recipe = stored_run(run, "val").settings
        how: dict[str, Any] = {"num_resamples": recipe.num_resamples, "confidence": recipe.confidence, "seed": 0}
        leaf = registered_metrics()["log_loss"]
        cases = cases_of(Predictions.load(run.predictions("val")))
        return vars(Estimator(cases, {"log_loss": leaf}, **how).overall(leaf))
    stored = run.read_metrics() if run.metrics.is_file() else {}
    overall = (stored if stored.get("split") == "val" else compute_numbers(stored_run(run, "val")))["overall"]
    for key in (metric, f"macro_{metric}"):
        if key in overall:
            return overall[key]
    raise SpecError(f"The metric of a sweep must be one of {', '.join(overall)}. Got {metric!r}. Change metric.")


def _write(plan: Plan, result: dict[str, Any]) -> dict[str, Any]:
    """`sweep.json`, and a row a run in `sweep.csv`."""
    keys = list(dict.fromkeys(key for run in result["runs"] for key in run["settings"]))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    facts = ("status", "value", "low", "high", "best_epoch", "why")
    rows.writerow(["run", *keys, *facts])
    for run in result["runs"]:
        rows.writerow([run["run"], *(run["settings"].get(key) for key in keys), *(run[fact] for fact in facts)])
    write_text(plan.out / "sweep.csv", table.getvalue())
    write_text(plan.out / "sweep.json", json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    return result
