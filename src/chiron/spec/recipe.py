"""Recipe: one file that says what to do. Every key is here, with its default and meaning; there is no other place."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from chiron.spec.frozen import Frozen
from chiron.spec.input_spec import InputSpec

Share = Annotated[float, Field(ge=0, le=1)]
SplitRole = Literal["train", "val", "cal", "test", "external"]


class ModelRecipe(Frozen):
    """Which network, and what its weights start from."""

    name: str = Field(description="a name that `chiron models` lists: a Chiron family or any timm model")
    init: Literal["scratch", "imagenet"] = Field(description="where the first weights come from; asked for by name")
    args: dict[str, Any] = Field(default_factory=dict, description="further arguments of the model, e.g. drop_rate")


class LabelRecipe(Frozen):
    """What the classes mean."""

    positive: str | None = Field(default=None, description="the class of interest when there are two")
    descriptions: dict[str, str] = Field(default_factory=dict, description="one plain sentence a class")
    one_logit: bool = Field(default=False, description="two classes from one logit")


class DataRecipe(Frozen):
    """How images become a manifest with splits."""

    reader: str | None = Field(default=None, description="force a reader; by default the layout is recognized")
    groups: str | None = Field(default=None, description="another reading of the group ids that the reader offers")
    fractions: dict[SplitRole, Share] = Field(
        default={"train": 0.7, "val": 0.15, "test": 0.15},
        description="share of the images a role gets, in whole groups, where the data set does not say",
    )
    split_seed: int = 0
    keep_existing_splits: bool = Field(default=True, description="respect splits that the data set comes with")
    unreadable: Literal["error", "exclude"] = Field(
        default="error", description="images that cannot be decoded stop the run, or stay in the tables unscored"
    )
    accept_leaks: tuple[str, ...] = Field(default=(), description="names of leaks to train with; every report says so")

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Self:
        if abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise ValueError(f"fractions must sum to 1, not {sum(self.fractions.values()):g}")
        if not self.fractions.get("train") or not self.fractions.get("val"):
            raise ValueError("fractions must give train and val a share")
        return self


class AugmentRecipe(Frozen):
    """Random changes of training images: one warp and one change of gray values. Zero means off."""

    hflip: Share = Field(default=0.0, description="probability of a mirror left to right")
    vflip: Share = Field(default=0.0, description="probability of a mirror top to bottom")
    degrees: float = Field(default=0.0, ge=0, le=180, description="largest rotation to either side")
    translate: float = Field(default=0.0, ge=0, le=0.5, description="largest shift, share of the side")
    scale: tuple[float, float] = Field(default=(1.0, 1.0), description="smallest and largest magnification")
    brightness: float = Field(default=0.0, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(default=0.0, ge=0, le=1, description="largest relative change of contrast")

    @model_validator(mode="after")
    def _scale_in_order(self) -> Self:
        low, high = self.scale
        if not 0 < low <= high:
            raise ValueError("scale must be two positive numbers, the smaller first")
        return self


class TrainRecipe(Frozen):
    """The optimization."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=1)
    optimizer: Literal["adamw"] = "adamw"
    lr: float = Field(gt=0, description="highest learning rate")
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear from zero to lr, counted in epochs")
    min_lr: float = Field(default=0.0, ge=0, description="where the cosine ends")
    clip_grad: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    loss: str = Field(default="cross_entropy", description="a file of engine/losses")
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: N / (C * n_c) on the training split"
    )
    select_by: Literal["loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc"] = Field(
        default="auroc", description="the val metric that chooses the epoch"
    )
    patience: int | None = Field(default=None, ge=1, description="stop after so many epochs without a better one")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="of training steps; kept numbers are fp32")
    num_workers: int | Literal["auto"] = Field(default="auto", description="processes that decode images")
    checkpoint_minutes: float = Field(default=5.0, gt=0, description="a checkpoint at least so often, and every epoch")
    seed: int = 0

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs:g}) must be smaller than epochs ({self.epochs}); "
                "for example --set train.warmup_epochs=0"
            )
        if isinstance(self.num_workers, int) and self.num_workers < 0:
            raise ValueError("num_workers must be 0 or more, or auto")
        return self


class EvaluateRecipe(Frozen):
    """The intervals."""

    num_resamples: int = Field(default=2000, ge=200, description="bootstrap resamples of groups")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class IntendedUse(Frozen):
    """What the classifier is for, in the author's words; printed on the report's first page and the model card."""

    question: str = ""
    population: str = ""
    reference_standard: str = Field(default="", description="how and by whom the labels were made")


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
    evaluate: EvaluateRecipe = EvaluateRecipe()
