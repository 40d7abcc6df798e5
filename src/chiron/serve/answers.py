"""The JSON of every answer: what /openapi.json tells programs, and what the page reads."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnswerSaid",
    "Error",
    "ExperienceSaid",
    "Explanation",
    "Health",
    "ModelCard",
    "Models",
    "Predicted",
    "PredictionSaid",
    "Question",
    "Result",
]


class Error(BaseModel):
    """Why a request gets no answer."""

    error: str  # one sentence
    kind: str  # a short code for programs
    reasons: list[str] = []


class Health(BaseModel):
    """That the server answers, and for which models."""

    status: Literal["ok"]
    models: list[str]


class ClassNamed(BaseModel):
    """A class by name and in words."""

    name: str
    description: str


class Question(BaseModel):
    """A clinical question over the classes, and the threshold that answers it; null: the most probable class does."""

    name: str
    classes: list[str]
    threshold: dict[str, Any] | None


class InputSaid(BaseModel):
    """What the networks are given."""

    img_size: int
    in_chans: int
    bit_depth: int


class ExplainerSaid(BaseModel):
    """Whether maps of this model may be shown, by which explainer, and why not."""

    may_be_shown: bool
    method: str | None
    words: str
    reasons: list[str]


class LimitsSaid(BaseModel):
    """What the server takes in one request."""

    max_bytes: int
    max_pixels: int
    max_images: int


class ModelCard(BaseModel):
    """What a model is, for whom it was made, and what it takes."""

    name: str
    bundle_id: str
    network: str
    classes: list[ClassNamed]
    several: bool  # whether an image can have several classes, or none
    positive: str | None
    unit: Literal["image", "unit", "patient"]
    calibrated: bool
    questions: list[Question]
    prediction_sets: dict[str, Any] | None
    input: InputSaid
    intended_use: dict[str, Any]
    explainer: ExplainerSaid
    limits: LimitsSaid
    created: str
    warnings: list[str]


class Models(BaseModel):
    """All models that are served."""

    models: list[ModelCard]
    disclaimer: str


class AnswerSaid(BaseModel):
    """The answer to a clinical question."""

    score: float
    threshold: float | None
    answer: Literal["yes", "no"]


class ScopeSaid(BaseModel):
    """How unlike the images that the model was made with the image is."""

    distance: float
    percentile: float
    limit: float
    problems: list[str]
    in_scope: bool


class ReferralSaid(BaseModel):
    """Whether a person must decide, and why."""

    refer: bool
    reasons: list[str]


class PredictionSaid(BaseModel):
    """The model output; fields that do not belong to the bundle's labels, or are withheld, are left out."""

    model_config = ConfigDict(extra="allow")

    predicted_class: str | None = None
    predicted_class_description: str = ""
    confidence: float | None = None
    probabilities: dict[str, float] = {}
    classes_above_half: list[str] | None = None
    calibrated: bool = False
    decisions: dict[str, AnswerSaid] = {}
    prediction_set: list[str] | None = None
    spread: dict[str, tuple[float, float]] | None = None  # of several networks: no confidence interval
    scope: ScopeSaid | None = None
    referral: ReferralSaid | None = None
    disclaimer: str


class Missed(BaseModel):
    """Of test cases with the condition, those that were answered no."""

    missed: int | None
    of: int | None
    low: float | None
    high: float | None


class ExperienceSaid(BaseModel):
    """How often test cases with such an output were right; counts are null where there are fewer than 5 cases.

    It speaks of the class named, or of the answer to a question.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    class_name: str | None = Field(alias="class")
    question: str | None
    output: str
    right: int | None
    of: int | None
    low: float | None
    high: float | None
    missed: Missed | None = None  # of answers no
    population: str
    words: str


class Result(BaseModel):
    """What is said of one image, or of all images of a unit together (`index` -1)."""

    index: int
    status: Literal["ok", "unreadable", "out_of_scope"]
    problem: str | None
    prediction: PredictionSaid | None
    experience: list[ExperienceSaid]
    input_sha256_keyed: str


class Predicted(BaseModel):
    """What a model says of the images of one request."""

    model: str
    bundle_id: str
    time: str
    chiron_version: str
    disclaimer: str
    results: list[Result]
    unit: Result | None


class Verdict(BaseModel):
    """Whether a map may be shown, in words and with reasons."""

    may_be_shown: bool
    words: str
    reasons: list[str]


class Explanation(BaseModel):
    """Where the model reacted, not where disease is."""

    model: str
    bundle_id: str
    time: str
    class_name: str
    probability: float
    method: str
    notice: str
    saliency_png: str  # base64: the map over what the network saw
    image_png: str  # base64: what the network saw
    scores: dict[str, float | None]
    verdict: Verdict
    disclaimer: str
