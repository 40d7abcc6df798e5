"""What a sweep is to do, checked before anything runs: its combinations, names of runs, and what must stay the same."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiron.core.errors import SpecError
from chiron.core.files import locked, write_text
from chiron.core.hashing import sha256_json
from chiron.core.suggest import did_you_mean
from chiron.metrics.metric import registered_metrics
from chiron.spec.library import find_recipe
from chiron.spec.recipe import Recipe
from chiron.spec.sweep import SweepRecipe
from chiron.workflows.check import check_recipe

SETTINGS = "sweep_settings.json"
_LONGEST_NAME = 100
_MICRO = ("micro_auroc", "exact_match", "macro_brier")  # of several labels an image


@dataclass(frozen=True)
class Plan:
    """A sweep with its data and place; the same in every process that works on it."""

    sweep: SweepRecipe
    metric: str
    data: Path
    out: Path
    device: str = "auto"
    threads: int | None = None

    @property
    def maximize(self) -> bool:
        """Whether a larger value of the metric is better."""
        key = re.sub("^(macro|weighted|micro)_", "", "log_loss" if self.metric == "loss" else self.metric)
        metric = registered_metrics().get(key)
        return metric is None or metric.direction == "up"

    @property
    def num_units(self) -> int:
        """How many pieces of work there are: runs of a grid, or trials."""
        return self.sweep.trials if self.sweep.search else len(self.sweep.combinations)

    def overrides(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The changes of the recipe for one run."""
        return (*self.sweep.set, *(f"{key}={json.dumps(value)}" for key, value in settings.items()))

    def folder(self, settings: Mapping[str, Any], trial: int | None = None) -> Path:
        """The run folder of these settings."""
        own = {key: value for key, value in settings.items() if key in self.sweep.grid}
        if trial is None or not own:
            return self.out / run_name(settings, trial)
        searched = {key: value for key, value in settings.items() if key not in own}
        return self.out / f"{run_name(searched, trial)}_{run_name(own)}"  # the second tells a trial's runs apart


def run_name(settings: Mapping[str, Any], trial: int | None = None) -> str:
    """A short readable name of a run, its own for its settings.

    Example:
        >>> run_name({"data.fold": 0, "train.seed": 1}), run_name({"train.lr": 0.00031234}, trial=7)
        ('fold-0_seed-1', 'trial-007_lr-0.000312')
    """
    last = [key.rpartition(".")[2] for key in settings]
    keys = last if len(set(last)) == len(last) else list(settings)
    exact = "_".join(f"{key}-{_word(value)}" for key, value in zip(keys, settings.values(), strict=True))
    shown = re.sub(r"[^\w.+-]", "-", exact)
    if trial is not None:
        return f"trial-{trial:03d}_{shown}"[:_LONGEST_NAME].rstrip("_")
    told = all(not isinstance(value, float) or float(_word(value)) == value for value in settings.values())
    if shown == exact and told and len(shown) <= _LONGEST_NAME:
        return shown or "run"
    return f"{shown[:_LONGEST_NAME]}_{sha256_json(dict(settings))[:8]}"


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def make_plan(sweep: SweepRecipe, data: Path, out: Path, *, device: str, threads: int | None) -> Plan:
    """The plan of a sweep of which every run that can be known is a right recipe.

    Raises:
        SpecError: all mistakes at once.
    """
    recipes = _checked_recipes(sweep)
    metrics = {recipe.train.select_by for recipe in recipes}
    if sweep.metric is None and len(metrics) > 1:
        raise SpecError("A sweep over train.select_by must say which metric compares its runs. Got none. Add metric.")
    metric = sweep.metric or metrics.pop()
    if any(recipe.train.overfit_images is not None for recipe in recipes):
        raise SpecError("A sweep compares trainings. Got train.overfit_images. Leave it out.")
    _require_metric(metric)
    return Plan(sweep, metric, data, out.resolve(), device, threads)


def _checked_recipes(sweep: SweepRecipe) -> list[Recipe]:
    """Recipes of all combinations, and of the ends of every searched range."""
    first = {key: searched.ends[0] for key, searched in sweep.search.items()}
    settings = [first | combination for combination in sweep.combinations]
    settings += [settings[0] | {key: end} for key, searched in sweep.search.items() for end in searched.ends[1:]]
    recipes, problems = [], dict[str, None]()
    for values in settings:
        changes = (*sweep.set, *(f"{key}={json.dumps(value)}" for key, value in values.items()))
        try:
            recipes.append(check_recipe(sweep.recipe, changes))
        except SpecError as error:
            problems |= dict.fromkeys(str(error).splitlines())
    if problems:
        raise SpecError("\n".join(problems))
    return recipes


def _require_metric(metric: str) -> None:
    known = {"loss", *_MICRO}
    for leaf in registered_metrics().values():
        known |= {leaf.key, *(key for _, key in leaf.averages), *([leaf.positive_key] if leaf.positive_key else [])}
    if metric not in known:
        raise SpecError(
            f"The metric of a sweep must be one that val is evaluated by. Got {metric!r}. "
            f"{did_you_mean(metric, known)}".rstrip()
        )


def keep_settings(plan: Plan) -> None:
    """Notes what the sweep in this folder compares, or stops where another one has begun there.

    A grid may grow, and so may the number of trials.

    Raises:
        SpecError: the folder holds runs of another recipe, data, search or metric.
    """
    sweep = plan.sweep
    settings = {
        "recipe": sha256_json([find_recipe(sweep.recipe)[1], list(sweep.set)]),
        "data": sha256_json(str(plan.data.resolve())),
        "search": {key: searched.model_dump(mode="json") for key, searched in sweep.search.items()},
        "grid": {key: list(values) for key, values in sweep.grid.items()} if sweep.search else list(sweep.grid),
        "metric": plan.metric,
    }
    path = plan.out / SETTINGS
    with locked(path):
        if not path.is_file():
            if plan.out.is_dir() and any(not file.name.startswith(".") for file in plan.out.iterdir()):
                raise SpecError(
                    f"A new sweep needs a folder of its own. Got other files in {plan.out}. Choose another --out."
                )
            write_text(path, json.dumps(settings, indent=1))
            return
        before = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in settings if before.get(key) != settings[key]]
    if changed:
        raise SpecError(
            f"All runs in a folder must be of one sweep. Got another {', '.join(changed)} than before in {plan.out}. "
            "Put it back, or choose another --out."
        )
