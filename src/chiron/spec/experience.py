"""Experience: how often test cases with such an output were right, kept beside a bundle. It names nobody.

A count of fewer than five groups (patients, where they are known) is not kept: its place is null.
"""

from typing import Literal

from chiron.spec.decision import Unit
from chiron.spec.frozen import Frozen

__all__ = ["FEWEST", "AnswerOutcome", "ClassOutcome", "Experience", "Share"]

FEWEST = 5


class Share(Frozen):
    """`count` of `total` cases with the 95 % interval of the share; all null where the cases are too few to be told."""

    count: int | None
    total: int | None
    low: float | None
    high: float | None


class ClassOutcome(Frozen):
    """Of the cases for which this class was named with such a probability: how many had it."""

    class_name: str
    from_confidence: float
    to_confidence: float  # below it; the last one includes 1
    right: Share


class AnswerOutcome(Frozen):
    """Of the cases with this answer: how many were right. Of a no also the miss rate: of the cases with yes by the
    reference, how many got it.
    """

    question: str
    answer: Literal["yes", "no"]
    right: Share
    missed: Share | None = None


class Experience(Frozen):
    """What a bundle said of the cases of a split, beside their reference labels."""

    split: Literal["test"]
    unit: Unit
    num_units: int
    num_groups: int
    population: str
    classes: tuple[ClassOutcome, ...]  # empty where an image can have several classes
    answers: tuple[AnswerOutcome, ...]
    created: str  # ISO 8601, UTC
    chiron_version: str

    def of_class(self, class_name: str, confidence: float) -> ClassOutcome | None:
        """Of cases with such an output."""
        own = (it for it in self.classes if it.class_name == class_name and confidence >= it.from_confidence)
        return max(own, key=lambda it: it.from_confidence, default=None)

    def of_answer(self, question: str, answer: str) -> AnswerOutcome | None:
        """Of cases with such an answer."""
        return next((it for it in self.answers if (it.question, it.answer) == (question, answer)), None)
