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
class Scope:
    """How unlike the images that a bundle was fitted on an image is, and what else speaks against using it.

    `distance` is 1 for a typical training image; beyond `limit` an image is out of scope. `percentile` is the share of
    fitting images with a smaller distance, in percent. `problems` are plain sentences on the picture itself. An image
    within the scope may still be one that the bundle is wrong about.
    """

    distance: float
    percentile: float
    limit: float
    problems: tuple[str, ...]
    in_scope: bool


@dataclass(frozen=True)
class Referral:
    """Whether a person must decide without the model output, and why: one plain sentence a reason.

    Without a reason nothing is said for the output.
    """

    refer: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image or unit. `confidence` is the probability of the class named.

    Where an image can have several classes or none, no class is named, so that `predicted_class` and `confidence` are
    None; every probability then stands for itself, and `classes_above_half` are those of 0.5 and more, the decision
    that sensitivity and specificity in a report speak of. An empty tuple does not rule any class out, and no answer
    `no` rules out disease. `prediction_set` holds the classes that cannot be left out at the bundle's error rate.
    `scope` is None where the bundle has no out-of-scope score. `spread` tells the smallest and largest probability that
    one of several networks gives each class: the spread of the networks, which is no confidence interval.
    """

    predicted_class: str | None
    predicted_class_description: str
    confidence: float | None
    probabilities: dict[str, float]
    classes_above_half: tuple[str, ...] | None = None  # of several classes only
    calibrated: bool = False  # whether the probabilities were fitted to cases, or are the network's own
    decisions: dict[str, Answer] = field(default_factory=dict)  # of bundles with clinical questions or thresholds
    prediction_set: tuple[str, ...] | None = None  # of bundles with conformal sets
    spread: dict[str, tuple[float, float]] | None = None  # of several networks
    scope: Scope | None = None
    referral: Referral = Referral()
    disclaimer: str = DISCLAIMER

    def top(self, count: int) -> list[dict[str, Any]]:
        """The most probable classes, the first one first; equal ones by their place among the labels."""
        ranked = sorted(self.probabilities.items(), key=lambda it: -it[1])[:count]
        return [{"class": name, "probability": probability} for name, probability in ranked]

    def to_dict(self, *, top_k: int | None = None) -> dict[str, Any]:
        """Plain values, ready for JSON; without what belongs to the other kind of labels or was not asked for.

        Args:
            top_k: also the so many most probable classes, as `top_k_predictions`.
        """
        if self.classes_above_half is None:
            others: set[str] = {"classes_above_half"}
        else:
            others = {"predicted_class", "predicted_class_description", "confidence"}
        others |= {"decisions"} if not self.decisions else set()
        others |= {name for name in ("prediction_set", "spread") if getattr(self, name) is None}
        told = {name: value for name, value in asdict(self).items() if name not in others}
        return told if top_k is None else told | {"top_k_predictions": self.top(top_k)}
