"""StudyPlan: one file that says, before anything is scored, which models are compared, on what, and by which rule."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from chiron.core.errors import SpecError, reason_of
from chiron.spec.decision import Unit
from chiron.spec.frozen import Frozen
from chiron.spec.library import packaged_studies
from chiron.spec.reading import validated
from chiron.spec.strict_yaml import Document, KeyPath, parse_value, parse_yaml
from chiron.spec.sweep import SearchRange

BASELINES = ("majority", "metadata", "histogram", "knn", "linear_probe")
ADJUSTED = "adjusted_"  # before the name of a metric of the predicted classes
ArmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", max_length=60)]


class Arm(Frozen):
    """One model of the study: a recipe with changes, and where its settings come from."""

    recipe: str = Field(description="packaged name or YAML file, sought beside the study first")
    set: tuple[str, ...] = Field(default=(), description="changes of the recipe, each key=value")
    pretraining: str = Field(
        default="none", description="what the first weights have seen before, in words: none, ImageNet-1k, ..."
    )
    search: dict[str, SearchRange] = Field(
        default_factory=dict, description="keys that are tuned on val first, with budget.trials trials"
    )
    trials_before: int = Field(default=0, ge=0, description="trainings that chose the settings before this study")


class Budget(Frozen):
    """What every arm may spend; an arm that spends something else is flagged in the table."""

    epochs: int = Field(ge=1, description="of every training")
    trials: int = Field(default=0, ge=0, description="trainings to choose an arm's settings by val")


class FrozenFeatures(Frozen):
    """The network whose features, without training, knn and linear_probe read; by default that of the first arm."""

    recipe: str = Field(description="its network, first weights and input")
    set: tuple[str, ...] = ()


class StudyPlan(Frozen):
    """The plan of a study. What it does not name is exploratory."""

    question: str = Field(min_length=1, description="the one question that the study answers")
    data: str = Field(description="folder, zip, npz, table or manifest, sought beside the study first")
    metric: str = Field(description="the primary one, of the test split")
    secondary: tuple[str, ...] = Field(
        default=(),
        description="further metrics of the table; adjusted_<metric>: of the classes named after logit adjustment, "
        "whose strength val chooses",
    )
    unit: Unit = Field(default="image", description="what is counted: image, unit or patient")
    set: tuple[str, ...] = Field(default=(), description="the protocol: changes of every arm's recipe")
    arms: dict[ArmName, Arm] = Field(min_length=1, description="what is compared, by name")
    comparisons: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="pairs of arms, first less second, that are tested as one family; the second is the same in all",
    )
    margin: float | None = Field(
        default=None, gt=0, description="how much worse the first of a pair may be and still count as not inferior"
    )
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="of the family of comparisons")
    subgroups: tuple[str, ...] = Field(default=(), description="columns of the data by whose values results are told")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="a training a seed, for every arm")
    folds: int | None = Field(default=None, ge=2, description="so many folds, each held out as test once")
    budget: Budget
    baselines: tuple[str, ...] = Field(default=BASELINES, description="rows without training: " + ", ".join(BASELINES))
    features: FrozenFeatures | None = Field(default=None, description="what knn and linear_probe read")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = [name for pair in self.comparisons for name in pair]
        if strangers := [name for name in named if name not in self.arms]:
            raise ValueError(f"comparisons must name arms ({', '.join(self.arms)}), not {strangers[0]!r}")
        if len({name.casefold() for name in self.arms}) < len(self.arms):
            raise ValueError("arms must differ in more than case: each has its own folders, also on Windows and macOS")
        if any(first == second for first, second in self.comparisons):
            raise ValueError("a comparison needs two different arms")
        if strangers := [name for name in self.baselines if name not in BASELINES]:
            raise ValueError(f"baselines must be of {', '.join(BASELINES)}, not {strangers[0]!r}")
        if len({second for _, second in self.comparisons}) > 1:
            raise ValueError("comparisons must have one arm in second place, to which all others are compared")
        if len(self.arms) > 1 and self.metric.startswith(ADJUSTED):
            raise ValueError(f"metric must be one of the outputs as they are; {self.metric} may stand in secondary")
        if self.margin is not None and not self.comparisons:
            raise ValueError("margin is of comparisons; name at least one")
        for what, values in (
            ("seeds", self.seeds), ("comparisons", self.comparisons),
            ("baselines", self.baselines), ("metric and secondary", (self.metric, *self.secondary)),
        ):  # fmt: skip
            if len(set(values)) < len(values):
                raise ValueError(f"{what} must differ from each other")
        return self

    @model_validator(mode="after")
    def _tuning_has_trials(self) -> Self:
        searching = [name for name, arm in self.arms.items() if arm.search]
        if searching and not self.budget.trials:
            raise ValueError(f"arm {searching[0]} has a search; say budget.trials")
        if searching and self.folds is not None:
            raise ValueError("a search would see images of val that are test in another fold; leave out folds")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """The primary metric, then the others."""
        return (self.metric, *self.secondary)


def read_study(name: str, changes: tuple[str, ...] = ()) -> StudyPlan:
    """The plan in a YAML file or of a packaged name, with changes of the protocol.

    Args:
        changes: `key=value` changes of every arm's recipe; they become a part of the plan.
    Raises:
        SpecError: it cannot be read, or one line a mistake, each with file and line.
    """
    document, folder = _document(name)
    problems: dict[KeyPath, str] = {}
    plan = validated(document, StudyPlan, problems)
    if plan is None:
        raise SpecError("\n".join(f"{document.where(place)}: {told}".rstrip() for place, told in problems.items()))
    plan = plan.model_copy(update={"set": (*plan.set, *changes)})
    arms = {key: arm.model_copy(update={"recipe": _beside(folder, arm.recipe)}) for key, arm in plan.arms.items()}
    update: dict[str, Any] = {"arms": arms, "data": _beside(folder, plan.data)}
    if plan.features is not None:
        update["features"] = plan.features.model_copy(update={"recipe": _beside(folder, plan.features.recipe)})
    if (epochs := _epochs_set(changes)) is not None:
        update["budget"] = plan.budget.model_copy(update={"epochs": epochs})
    return plan.model_copy(update=update)


def _document(name: str) -> tuple[Document, Path]:
    path, packaged = Path(name), packaged_studies()
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        if name not in packaged:
            raise SpecError(
                f"A study must be a YAML file or a packaged name ({', '.join(packaged)}). Got {name!r}. Give its path."
            )
        return parse_yaml(packaged[name], name), Path()
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path)), path.parent
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"A study must be a readable YAML file. Got {reason_of(error)} at {path}. Give its path."
        ) from error


def _beside(folder: Path, name: str) -> str:
    beside = folder / name
    return str(beside) if beside.exists() else name


def _epochs_set(changes: tuple[str, ...]) -> int | None:
    """A shorter study is shorter for all: the budget follows a change of the epochs."""
    told = [text for key, _, text in (change.partition("=") for change in changes) if key.strip() == "train.epochs"]
    return parse_value(told[-1]) if told else None
