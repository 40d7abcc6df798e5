"""What is said of one image or unit, as the command line, files, pages and servers show it. Works without torch."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from chiron.spec.provenance import DISCLAIMER


@dataclass(frozen=True)
class Answer:
    """What is told to a clinical question: its score, the threshold that decided, and yes or no.

    Without a threshold the answer is yes where the class named is one of the question's.
    """

    score: float
    threshold: float | None
    answer: Literal["yes", "no"]


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image or unit. `confidence` is the probability of the class named.

    Where an image can have several classes or none, no class is named, so that `predicted_class` and `confidence` are
    None; every probability then stands for itself, and `classes_above_half` are those of 0.5 and more, the decision
    that sensitivity and specificity in a report speak of. An empty tuple does not rule any class out, and no answer
    `no` rules out disease. `prediction_set` holds the classes that cannot be left out at the bundle's error rate.
    """

    predicted_class: str | None
    predicted_class_description: str
    confidence: float | None
    probabilities: dict[str, float]
    classes_above_half: tuple[str, ...] | None = None  # of several classes only
    calibrated: bool = False  # whether the probabilities were fitted to cases, or are the network's own
    decisions: dict[str, Answer] = field(default_factory=dict)  # of bundles with clinical questions or thresholds
    prediction_set: tuple[str, ...] | None = None  # of bundles with conformal sets
    disclaimer: str = DISCLAIMER

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without what belongs to the other kind of labels or was not asked for."""
        if self.classes_above_half is None:
            others: set[str] = {"classes_above_half"}
        else:
            others = {"predicted_class", "predicted_class_description", "confidence"}
        others |= {"decisions"} if not self.decisions else set()
        others |= {"prediction_set"} if self.prediction_set is None else set()
        return {name: value for name, value in asdict(self).items() if name not in others}
