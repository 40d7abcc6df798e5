"""Recipe: one file that says what to do. Every key is here or in the file of its part, with default and meaning."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from chiron.spec.augment import AugmentRecipe
from chiron.spec.decision import DecisionRecipe
from chiron.spec.frozen import Frozen, Share
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import UncertainPolicy
from chiron.spec.train_recipe import TrainRecipe

SplitRole = Literal["train", "val", "cal", "test", "external"]


class ModelRecipe(Frozen):
    """Which network, and what its weights start from."""

    name: str = Field(description="a name that `chiron models` lists: a Chiron family or any timm model")
    init: Literal["scratch", "imagenet", "imported"] = Field(
        description="where the first weights come from; asked for by name"
    )
    weights: str | None = Field(default=None, description="file that `chiron weights import` wrote, for init: imported")
    args: dict[str, Any] = Field(default_factory=dict, description="further arguments of the model, e.g. drop_rate")
    head: str | None = Field(
        default=None, description="a file of models/heads in place of the model's own head: linear, simple, acrnn, ..."
    )
    head_args: dict[str, Any] = Field(default_factory=dict, description="arguments of that head, e.g. drop_rate")

    @model_validator(mode="after")
    def _weights_for_imported(self) -> Self:
        if (self.init == "imported") != (self.weights is not None):
            raise ValueError("init: imported and weights belong together; `chiron weights import` writes the file")
        if self.head_args and self.head is None:
            raise ValueError("head_args needs a head; for example head: simple")
        return self


class LabelRecipe(Frozen):
    """What the classes mean."""

    names: tuple[str, ...] = Field(
        default=(),
        description="all classes in order: names the integer labels 0, 1, ..., or chooses of several labels an image; "
        "by default the data's",
    )
    positive: str | None = Field(default=None, description="the class of interest when there are two")
    descriptions: dict[str, str] = Field(default_factory=dict, description="one plain sentence a class")
    one_logit: bool = Field(default=False, description="two classes from one logit")
    ordinal: bool = Field(
        default=False, description="the names are in order, as grades are: weighted kappas are reported then"
    )
    uncertain: UncertainPolicy = Field(
        default="ignore", description="what a label -1 of several an image counts as: nothing, 0 (zeros) or 1 (ones)"
    )

    @model_validator(mode="after")
    def _order_of_ordinal(self) -> Self:
        if self.ordinal and len(self.names) < 3:
            raise ValueError("ordinal needs names: at least three classes from the lowest grade to the highest")
        return self


class DataRecipe(Frozen):
    """How images become a manifest with splits."""

    reader: str | None = Field(default=None, description="force a reader; by default the layout is recognized")
    groups: str | None = Field(default=None, description="another reading of the group ids that the reader offers")
    labels: Literal["single", "multi"] | None = Field(
        default=None, description="how many classes an image of a table can show, where its cells leave it open"
    )
    group_by: tuple[str, ...] = Field(default=(), description="further columns whose equal values stay in one split")
    fractions: dict[SplitRole, Share] = Field(
        default={"train": 0.7, "val": 0.15, "test": 0.15},
        description="share of the images a role gets, in whole groups, where the data set does not say",
    )
    split_seed: int = 0
    keep_existing_splits: bool = Field(default=True, description="respect splits that the data set comes with")
    folds: int | None = Field(default=None, ge=2, description="divide into so many folds; `fold` is held out")
    fold: int | None = Field(default=None, ge=0, description="number of the fold that is held out, from 0")
    fold_role: Literal["test", "val"] = Field(
        default="test", description="what the held-out fold is: test (val is carved from the others) or val"
    )
    unreadable: Literal["error", "exclude"] = Field(
        default="error", description="images that cannot be decoded stop the run, or stay in the tables unscored"
    )
    privacy: Literal["auto", "project", "strict"] = Field(
        default="auto",
        description="strict: the run holds keyed hashes, and one local file the names; project: the run holds names; "
        "auto: strict where there are DICOM files",
    )
    accept_leaks: tuple[str, ...] = Field(default=(), description="names of leaks to train with; every report says so")

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        if abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise ValueError(f"fractions must sum to 1, not {sum(self.fractions.values()):g}")
        if not self.fractions.get("train") or not self.fractions.get("val"):
            raise ValueError("fractions must give train and val a share")
        return self

    @model_validator(mode="after")
    def _fold_of_folds(self) -> Self:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds and fold belong together; for example --set data.folds=5 --set data.fold=0")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be 0 to {self.folds - 1}, not {self.fold}")
        return self


class EvaluateRecipe(Frozen):
    """The intervals, and the subgroups that are planned."""

    num_resamples: int = Field(default=2000, ge=200, description="bootstrap resamples of groups")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    subgroups: tuple[str, ...] = Field(
        default=(),
        description="columns whose groups are compared; by default those with the role subgroup or site, age and sex, "
        "as exploratory",
    )


class IntendedUse(Frozen):
    """What the classifier is for, in the author's words; printed on the report's first page and the model card."""

    question: str = ""
    population: str = ""
    reference_standard: str = Field(default="", description="how and by whom the labels were made")
    prevalence: dict[str, Share] = Field(
        default_factory=dict,
        description="share of patients with a class, or with yes to a question, where the classifier is to be used, "
        "e.g. malignant: 0.02; predictive values are told for it",
    )


class Recipe(Frozen):
    """Everything that decides a training run. Unknown keys are refused."""

    about: str = Field(default="", description="what this recipe trains, on what, with which expected result")
    intended_use: IntendedUse = IntendedUse()
    model: ModelRecipe
    input: InputSpec
    labels: LabelRecipe = LabelRecipe()
    data: DataRecipe = DataRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    train: TrainRecipe
    decision: DecisionRecipe = DecisionRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
