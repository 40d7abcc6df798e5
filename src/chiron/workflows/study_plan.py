"""What a study is to do, checked before anything runs: its trainings, one protocol for all, and what may not change."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chiron.audit.ledger import entered_plans, open_ledger, project_folder
from chiron.core.errors import SpecError
from chiron.core.files import locked, require_outside, write_text
from chiron.core.hashing import sha256_json
from chiron.core.suggest import did_you_mean
from chiron.data.reading import has_several_labels
from chiron.spec.layout import Layout
from chiron.spec.metric_names import directions
from chiron.spec.recipe import DataRecipe, Recipe
from chiron.spec.study import ADJUSTED, Arm, StudyPlan
from chiron.workflows.check import check_recipe

PLAN_FILE = "study_plan.json"
# What must be alike for numbers to be of one question: the images and their parts, the classes, what is evaluated.
_PROTOCOL = (
    "data", "labels.names", "labels.positive", "labels.uncertain", "decision.unit", "decision.unit_label", "evaluate"
)  # fmt: skip


@dataclass(frozen=True)
class PlannedRun:
    """One training of an arm."""

    arm: str
    seed: int
    fold: int | None
    folder: Path


@dataclass(frozen=True)
class Study:
    """A plan with its place and the recipe of every arm; the same in every process that works on it."""

    plan: StudyPlan
    recipes: dict[str, Recipe]  # as they are before an arm's search
    data: Path
    out: Path
    device: str = "auto"
    threads: int | None = None
    features: Recipe | None = None  # of the network that knn and linear_probe read; None: the first arm's

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """All trainings; those of one seed and fold stand together, so that a part of a study compares all arms."""
        folds: list[int | None] = [None] if self.plan.folds is None else list(range(self.plan.folds))
        return [
            PlannedRun(arm, seed, fold, self.out / "runs" / run_name(arm, seed, fold))
            for fold in folds
            for seed in self.plan.seeds
            for arm in self.plan.arms
        ]

    def runs_of(self, arm: str, fold: int | None) -> list[PlannedRun]:
        """The trainings of an arm on a fold, in the order of the seeds."""
        return [run for run in self.runs if run.arm == arm and run.fold == fold]

    @property
    def folds(self) -> list[int | None]:
        """Numbers of the folds; one None where there are none."""
        return list(dict.fromkeys(run.fold for run in self.runs))

    @property
    def plan_hash(self) -> str:
        """SHA-256 of all that the plan and its recipes say but where files lie, which differs by machine."""
        where: Any = {"data": True, "arms": {"__all__": {"recipe"}}, "features": {"recipe"}}
        said: list[Any] = [self.plan.model_dump(mode="json", exclude=where)]
        said.append({name: recipe.model_dump(mode="json") for name, recipe in self.recipes.items()})
        return sha256_json(said + ([] if self.features is None else [self.features.model_dump(mode="json")]))

    @property
    def is_check(self) -> bool:
        """Whether trainings only show that all works (`train.sanity_steps`), so that the test split is left alone."""
        return any(recipe.train.sanity_steps is not None for recipe in self.recipes.values())

    @property
    def project(self) -> Path:
        """The folder that keeps the ledger."""
        return project_folder(self.out)

    @property
    def study_id(self) -> str:
        """Under which name the ledger knows this study: a folder that is made anew is another study."""
        return json.loads((self.out / PLAN_FILE).read_text(encoding="utf-8"))["study"]

    def changes(self, run: PlannedRun) -> tuple[str, ...]:
        """The changes of the arm's recipe for one training, without what a search found."""
        own = [f"train.seed={run.seed}"]
        if run.fold is not None:
            own += [f"data.folds={self.plan.folds}", f"data.fold={run.fold}"]
        return (*arm_changes(self.plan, self.plan.arms[run.arm]), *own)

    def trials(self, arm: str) -> int:
        """How many trainings chose the settings of an arm."""
        asked = self.plan.arms[arm]
        return asked.trials_before + (self.plan.budget.trials if asked.search else 0)

    def off_budget(self, arm: str) -> str | None:
        """In what an arm spends something else than the budget; None where it keeps to it."""
        budget, epochs, trials = self.plan.budget, self.recipes[arm].train.epochs, self.trials(arm)
        told = [f"{epochs} epochs, not {budget.epochs}"] * (epochs != budget.epochs)
        told += [f"{trials} tuning trials, not {budget.trials}"] * (trials != budget.trials)
        return "; ".join(told) or None


def run_name(arm: str, seed: int, fold: int | None) -> str:
    """The folder of one training.

    Example:
        >>> run_name("cnn", 1, 0)
        'cnn_seed-1_fold-0'
    """
    return f"{arm}_seed-{seed}" + ("" if fold is None else f"_fold-{fold}")


def arm_changes(plan: StudyPlan, arm: Arm) -> tuple[str, ...]:
    """The changes of an arm's recipe: its own, then the protocol's, which has the last word."""
    return (*arm.set, *plan.set, f"decision.unit={plan.unit}")


def make_study(plan: StudyPlan, data: Path, out: Path, *, device: str, threads: int | None) -> Study:
    """The study of a plan whose every recipe is right and of one protocol.

    Raises:
        SpecError: all mistakes at once.
    """
    recipes, problems = {}, dict[str, None]()
    for name, arm in plan.arms.items():
        folds = () if plan.folds is None else (f"data.folds={plan.folds}", "data.fold=0")
        try:
            recipes[name] = check_recipe(arm.recipe, (*arm_changes(plan, arm), *folds))
        except SpecError as error:
            problems |= dict.fromkeys(f"arm {name}: {line}" for line in str(error).splitlines())
    features = None
    if plan.features is not None:
        try:
            features = check_recipe(plan.features.recipe, (*plan.features.set, *plan.set))
        except SpecError as error:
            problems |= dict.fromkeys(f"features: {line}" for line in str(error).splitlines())
    problems |= dict.fromkeys(_wrong_metrics(plan))
    if not problems:
        problems |= dict.fromkeys(_other_protocols(recipes))
    if problems:
        raise SpecError("\n".join(problems))
    if not data.exists():
        raise SpecError(
            f"A study needs images. Got no file or folder at {data}. Mend data in the plan, or give --data."
        )
    require_outside(out, data)
    _require_one_label(data, next(iter(recipes.values())).data)
    return Study(plan, recipes, data.resolve(), out.resolve(), device, threads, features)


def _require_one_label(data: Path, asked: DataRecipe) -> None:
    """Stops at data that no study can compare models on, before any training.

    Raises:
        SpecError: an image can have several classes.
    """
    layout = Layout(reader=asked.reader, labels=asked.labels, groups=asked.groups, group_by=asked.group_by)
    if has_several_labels(data, layout):
        raise SpecError(
            f"A study compares models of one class an image. Got several classes an image in {data}. Train the models "
            "one by one, and compare a class with `chiron compare --methods --metric auroc:CLASS`."
        )


def _wrong_metrics(plan: StudyPlan) -> Iterator[str]:
    known = set(directions()) - {"loss", "ece"}
    for name in plan.metrics:
        if (plain := name.removeprefix(ADJUSTED)) not in known:
            hint = did_you_mean(plain, known) or f"There are {', '.join(sorted(known))}."
            yield f"A metric of a study must be one of a test split. Got {name!r}. {hint}"


def _other_protocols(recipes: dict[str, Recipe]) -> Iterator[str]:
    """A sentence for every arm that asks another question than the first one."""
    (first, recipe), *others = recipes.items()
    for name, other in others:
        for path in _PROTOCOL:
            if _at(recipe, path) != _at(other, path):
                yield (
                    f"All arms must have one protocol. Got another {path} in arm {name} than in arm {first}. Name it "
                    "in set of the study."
                )
        if recipe.train.overfit_images != other.train.overfit_images:
            yield f"A study compares trainings. Got train.overfit_images in arm {name}. Leave it out."


def _at(recipe: Recipe, path: str) -> Any:
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def differing_keys(recipes: dict[str, Recipe]) -> dict[str, dict[str, Any]]:
    """The keys in which the arms' recipes differ, each with the value of every arm."""
    flat = {name: dict(_flat(recipe.model_dump(mode="json"))) for name, recipe in recipes.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values if key != "about")
    rows = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if any(value != next(iter(row.values())) for value in row.values())}


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, values


def keep_plan(study: Study, *, resume: bool) -> None:
    """Notes the plan in the study's folder, or stops where it may not be this one.

    Before the first test scoring a plan may change in what is compared and how; after it nothing may.

    Raises:
        SpecError: the folder holds something, and it is not resumed; or the plan is another than before.
    """
    path = study.out / PLAN_FILE
    settings = {name: sha256_json(recipe.model_dump(mode="json")) for name, recipe in study.recipes.items()}
    told: dict[str, Any] = {
        "plan_hash": study.plan_hash,
        "arms": settings,
        "data": sha256_json(str(study.data)),
        "plan": study.plan.model_dump(mode="json", exclude={"data"}),  # a strict project names no path of its images
    }
    with locked(path):
        if not path.is_file():
            if resume:
                raise SpecError(f"--resume continues a study. Got none in {study.out}. Leave it out, or mend --out.")
            if any(not file.name.startswith(".") for file in study.out.iterdir()):
                raise SpecError(
                    f"A study needs a folder of its own. Got other files in {study.out}. Choose another --out."
                )
            open_ledger(study.project)  # so that runs and plan find the same one from the first training on
            told["study"] = f"{study.out.name}-{secrets.token_hex(4)}"
            write_text(path, json.dumps(told, indent=1, ensure_ascii=False))
            return
        if not resume:
            raise SpecError(f"The output must not exist yet. Got a study in {study.out}. Add --resume to continue it.")
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["plan_hash"] == told["plan_hash"]:
            return
        _require_may_change(study, before, told)
        write_text(path, json.dumps(before | told, indent=1, ensure_ascii=False))


def _require_may_change(study: Study, before: dict[str, Any], told: dict[str, Any]) -> None:
    if entered := entered_plans(study.project, before["study"], ()):
        raise SpecError(
            f"A plan must stay as it was before the test split was scored. Got another than the one entered at "
            f"{entered[-1].time}. Put it back, or choose another --out, where the results will be called exploratory."
        )
    if before["data"] != told["data"]:
        raise SpecError(
            f"A study must stay with its images. Got others than before in {study.out}. Choose another --out."
        )
    for name in sorted(before["arms"].keys() & told["arms"].keys()):
        trained = any((study.out / "runs").glob(f"{name}_seed-*/recipe.yaml"))
        if trained and before["arms"][name] != told["arms"][name]:
            raise SpecError(
                f"All trainings of an arm must have the same settings. Got others than before in arm {name}. Rename "
                "the arm, remove its runs, or choose another --out."
            )
