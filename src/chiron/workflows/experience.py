"""Keeps with a bundle how often its outputs were right on the cases of its test split."""

import logging
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int

from chiron.bundle import write_experience
from chiron.core.errors import OutputError
from chiron.data.predictions import Predictions
from chiron.data.units import at_unit
from chiron.decide.members import question_score
from chiron.metrics.cases import number_groups
from chiron.metrics.intervals.proportion import proportion_interval
from chiron.spec.decision import Decision, questions_of
from chiron.spec.experience import FEWEST, AnswerOutcome, ClassOutcome, Experience, Share
from chiron.version import __version__
from chiron.workflows.look import now
from chiron.workflows.run_folder import RunFolder

__all__ = ["experience_of", "keep_experience"]

log = logging.getLogger("chiron.evaluate")

EDGES = (0.0, 0.5, 0.7, 0.9, 1.0)  # of the probability of the class named
Column = Bool[np.ndarray, "n"]


def keep_experience(run: RunFolder, predictions: Predictions, population: str) -> None:
    """Puts the experience of the test split beside the run's bundle, in place of an earlier one.

    Where the folder cannot be written, a warning says so: the evaluation stands all the same.
    """
    try:
        write_experience(run.bundle, str(predictions.facts["bundle_id"]), experience_of(predictions, population))
    except OutputError as error:
        log.warning("how often outputs were right is not kept with the bundle: %s", error)


def experience_of(predictions: Predictions, population: str) -> Experience:
    """How often each output was right, at the unit of the decision.

    Args:
        predictions: of images of the test split.
        population: whose they are, in the author's words.
    """
    decision = predictions.decision
    units = at_unit(predictions, decision).predictions
    num_units = units.scored.height
    groups = np.arange(num_units) if units.groups is None else number_groups(units.groups, num_units)
    return Experience(
        split="test",
        unit=decision.unit,
        num_units=num_units,
        num_groups=len(np.unique(groups)),
        population=population,
        classes=() if units.is_multi_label else tuple(_of_classes(units, groups)),
        answers=tuple(_of_answers(units, decision, groups)),
        created=now(),
        chiron_version=__version__,
    )


def _of_classes(units: Predictions, groups: Int[np.ndarray, "n"]) -> Iterator[ClassOutcome]:
    probs, y_true = units.y_prob, units.y_true
    named, confidence = probs.argmax(axis=1), probs.max(axis=1)
    for place, name in enumerate(units.classes):
        for low, high in pairwise(EDGES):
            if high <= 1 / len(units.classes):
                continue  # nothing is named with so little
            inside = (named == place) & (confidence >= low) & ((confidence < high) | (high == 1))
            right = share_of(inside, y_true == place, groups)
            yield ClassOutcome(class_name=name, from_confidence=low, to_confidence=high, right=right)


def _of_answers(units: Predictions, decision: Decision, groups: Int[np.ndarray, "n"]) -> Iterator[AnswerOutcome]:
    several = units.is_multi_label
    for question, classes in questions_of(decision.questions, units.classes, units.positive, several=several).items():
        is_true, is_known = _reference(units, classes)
        answered = _answered_yes(units, decision, question, classes)
        yes, no = answered & is_known, ~answered & is_known
        yield AnswerOutcome(question=question, answer="yes", right=share_of(yes, is_true, groups))
        missed = share_of(is_true & is_known, ~answered, groups)
        yield AnswerOutcome(question=question, answer="no", right=share_of(no, ~is_true, groups), missed=missed)


def _answered_yes(units: Predictions, decision: Decision, question: str, classes: tuple[str, ...]) -> Column:
    """By the rule of `Scorer.read_out`: from the threshold on, or where a class of the question is named."""
    probs, threshold = units.y_prob, decision.threshold_of(question)
    if threshold is not None:
        return np.asarray(question_score(probs, classes, units.classes) >= threshold.value)
    places = [units.classes.index(name) for name in classes]
    if units.is_multi_label:
        return np.asarray((probs[:, places] >= 0.5).any(axis=1))
    return np.isin(probs.argmax(axis=1), places)


def _reference(units: Predictions, classes: tuple[str, ...]) -> tuple[Column, Column]:
    """Whether the reference says yes, and whether it says anything."""
    places = [units.classes.index(name) for name in classes]
    if not units.is_multi_label:
        is_true = np.isin(units.y_true, places)
        return is_true, np.ones_like(is_true)
    own = units.y_true[:, places]
    return (own == 1).any(axis=1), ~np.isnan(own).any(axis=1)


def share_of(among: Column, counted: Column, groups: Int[np.ndarray, "n"]) -> Share:
    """How many `among` the cases are `counted`; nothing where they are of fewer than five groups."""
    own = groups[among]
    if len(np.unique(own)) < FEWEST:
        return Share(count=None, total=None, low=None, high=None)
    most = int(groups.max()) + 1
    interval = proportion_interval(
        np.bincount(groups[among & counted], minlength=most), np.bincount(own, minlength=most)
    )
    return Share(count=int((among & counted).sum()), total=int(among.sum()), low=interval.low, high=interval.high)
