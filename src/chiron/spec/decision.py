"""Decision: how logits become what is told, and for which unit. Asked for in a recipe, fitted, kept in the bundle."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from chiron.spec.frozen import Frozen

Unit = Literal["image", "unit", "patient"]
CombineRule = Literal["mean_logit", "mean_prob", "max_prob"]
UnitLabelRule = Literal["same", "any_positive", "most"]
CalibrationMethod = Literal["none", "temperature", "temperature_bias", "platt", "vector", "isotonic"]
ThresholdRule = Literal["point", "expected", "guaranteed", "youden"]
ConformalScore = Literal["lac", "aps", "raps"]
FittedOn = Literal["none", "cal", "cross_fit", "reuse_val", "other_data"]  # other_data: than those of the training
Tta = Literal["none", "hflip", "dihedral"]  # views of an image whose probabilities are averaged
UNITS: tuple[str, ...] = get_args(Unit)


class DecisionRecipe(Frozen):
    """What is to be fitted after training, on images that neither training nor selection has seen."""

    unit: Unit = Field(
        default="image", description="what one answer is for: the image, the unit (lesion, eye, exam) or the patient"
    )
    combine: Literal[CombineRule, "auto"] = Field(
        default="mean_logit", description="how the outputs of a unit's images become one; auto: the best on val"
    )
    unit_label: UnitLabelRule = Field(
        default="same",
        description="label of a unit whose images have different ones: same refuses, any_positive, or most (the first "
        "of equal ones)",
    )
    fit_on: Literal["auto", "none", "cal", "cross_fit", "reuse_val"] = Field(
        default="auto",
        description="where calibration, thresholds and conformal sets are fitted; auto: the cal split where there is "
        "one, cross-fitting where it is too small, nothing without one; reuse_val is told as optimistic",
    )
    folds: int = Field(default=5, ge=2, description="of cross-fitting: as many networks make the bundle")
    calibration: Literal[CalibrationMethod, "auto"] = Field(
        default="auto", description="auto: the least log loss in grouped cross-validation within cal"
    )
    questions: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="clinical questions over the classes, e.g. malignant: [mel, bcc, akiec]; of two classes the "
        "positive one is asked for by itself",
    )
    threshold: Literal[ThresholdRule, "none"] = Field(
        default="none",
        description="of each question: none calls the most probable class; expected promises the sensitivity on "
        "average, guaranteed with 95 % confidence",
    )
    sensitivity: float = Field(default=0.95, gt=0, lt=1, description="that a threshold is to reach")
    conformal: Literal[ConformalScore, "none"] = Field(
        default="none", description="sets of classes that hold the truth"
    )
    alpha: float = Field(default=0.1, gt=0, lt=0.5, description="share of sets that may miss the reference class")
    conformal_by: str = Field(
        default="all", description="all, class, or a subgroup column: the share holds for each of them"
    )
    refer_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the least sure fitting cases that would go to a person",
    )
    scope_percent: float = Field(
        default=99,
        ge=50,
        le=100,
        description="an image less like the training's than so many percent of cal (else val) is out of scope",
    )

    @model_validator(mode="after")
    def _questions_name_classes(self) -> Self:
        if empty := [name for name, classes in self.questions.items() if not classes]:
            raise ValueError(f"the question {empty[0]} must name at least one class")
        return self


class Calibration(Frozen):
    """Parameters that turn logits into probabilities: of each network where they were cross-fitted, else one set."""

    method: CalibrationMethod = "none"
    parameters: tuple[dict[str, tuple[float, ...]], ...] = ()
    fitted_on: FittedOn = "none"
    num_units: int = 0
    num_groups: int = 0


class Threshold(Frozen):
    """Where the answer to a question becomes yes: at a score of `value` and more.

    The score is the sum of the calibrated probabilities of `classes`. `low` and `high` are the 95 % interval of the
    threshold itself; `num_found` of `num_positive` units of the fitting part reach it.
    """

    question: str
    classes: tuple[str, ...]
    rule: ThresholdRule
    sensitivity: float | None  # None for youden
    value: float
    low: float | None
    high: float | None
    num_found: int
    num_positive: int
    num_groups: int
    fitted_on: FittedOn


class Conformal(Frozen):
    """How prediction sets are made: a class enters when its score is at most the quantile of its part.

    `quantiles` names `all`, the classes, or the values of the column `by`; null: too few groups, the class always
    enters. Cross-fitted sets keep the sorted scores of each network's held-out units instead, and the size of the
    `largest_group` of units among them.
    """

    score: ConformalScore
    alpha: float
    by: str = "all"
    quantiles: dict[str, float | None] = Field(default_factory=dict)
    num_groups: dict[str, int] = Field(default_factory=dict)
    member_scores: tuple[tuple[float, ...], ...] = ()
    largest_group: int = 1
    fitted_on: FittedOn = "none"


class Decision(Frozen):
    """From logits to what is told, as the bundle keeps it.

    A calibration `none` says that the probabilities are the network's own; a report and a model card print it. The
    class named is the most probable one; questions with a threshold are answered beside it.
    """

    unit: Unit = "image"
    combine: CombineRule = "mean_logit"
    unit_label: UnitLabelRule = "same"
    calibration: Calibration = Calibration()
    questions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    conformal: Conformal | None = None
    refer_below: float | None = None  # a less probable class is not told without a person

    def asked_of(self, names: tuple[str, ...], positive: str | None, *, several: bool) -> dict[str, tuple[str, ...]]:
        """The questions that have an answer for these labels, see `questions_of`; of several labels those decided."""
        if several:
            return {threshold.question: threshold.classes for threshold in self.thresholds}
        return questions_of(self.questions, names, positive, several=False)

    def threshold_of(self, question: str) -> Threshold | None:
        """The threshold of a question; None where the most probable class answers it."""
        return next((threshold for threshold in self.thresholds if threshold.question == question), None)


def questions_of(
    questions: dict[str, tuple[str, ...]], names: tuple[str, ...], positive: str | None, *, several: bool
) -> dict[str, tuple[str, ...]]:
    """The questions stated, and those that need no words: the positive class of two, or each of several labels."""
    if several:
        return {name: (name,) for name in names}
    stated = set(questions.values())
    own = {} if positive is None or (positive,) in stated else {positive: (positive,)}
    return {**own, **questions}
