"""Numbers of parts of an evaluation: subgroups, strata of the reference standard, readers, failed cases as worst case.

Each function makes one key of the numbers, from the table of predictions alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from chiron.data.attributes import groups_of, subgroup_columns
from chiron.data.columns import known_roles
from chiron.data.manifest_columns import ColumnRole
from chiron.data.predictions import REFERENCE_PREFIX, Predictions
from chiron.decide.members import question_score
from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.cases import number_groups
from chiron.metrics.multi_label import THRESHOLD
from chiron.metrics.readers import Answers, adjust_tests, class_agreement, reader_numbers
from chiron.metrics.subgroups import Attribute, adjust_interactions, part_numbers, subgroup_numbers
from chiron.metrics.worst_case import worst_case
from chiron.spec.decision import questions_of
from chiron.workflows.stored import Stored

READER_PREFIX = "reader_"
FAILED = ("unreadable", "indeterminate")  # what was meant to be answered and was not
_NO_REFERENCE = "the reference of a case is not known, so it counts as wrong for both answers"


@dataclass(frozen=True)
class Asked:
    """A question, the classes that answer it with yes, and which scored rows it is asked of."""

    question: BinaryQuestion
    classes: tuple[str, ...]
    rows: Bool[np.ndarray, "scored"]


def asked_of(predictions: Predictions, *, confidence: float) -> Iterator[Asked]:
    """The questions of the decision; without any of more than two classes each class against the others.

    Judged at the frozen threshold of the question; without one the most probable class answers, of several labels a
    probability of one half. Several labels are asked of the rows that were assessed for them.
    """
    names, y_prob = predictions.classes, predictions.y_prob
    several, decision = predictions.is_multi_label, predictions.decision
    stated = questions_of(decision.questions, names, predictions.positive, several=several)
    for name, classes in (stated or {name: (name,) for name in names}).items():
        score, threshold = question_score(y_prob, classes, names), decision.threshold_of(name)
        places = [names.index(each) for each in classes]
        if several:
            labels = predictions.y_true[:, places[0]]
            rows, positive, called = ~np.isnan(labels), labels == 1, score >= THRESHOLD
        else:
            rows = np.ones(len(y_prob), dtype=bool)
            positive, called = np.isin(predictions.y_true, places), np.isin(y_prob.argmax(axis=1), places)
        if threshold is not None:
            called = score >= threshold.value
        if rows.any():
            groups = _group_index(predictions)
            whole = BinaryQuestion(name, positive, score, called, groups, predictions.groups is not None, confidence)
            yield Asked(whole.part(rows), classes, rows)


def subgroups(stored: Stored) -> list[dict[str, Any]]:
    """One entry a question and attribute: groups with their numbers, differences to the rest, a test of interaction.

    Planned are the columns that the recipe names; others are exploratory. A planned column that the table lacks is
    told as well.
    """
    predictions, planned = stored.predictions, stored.settings.subgroups
    scored = predictions.scored
    there = [name for name in planned if name in scored.columns]
    added = tuple(predictions.facts.get("subgroups", ()))
    columns = subgroup_columns(scored.columns, _roles(stored), tuple(dict.fromkeys((*there, *added))))
    told: list[dict[str, Any]] = []
    divided = {name: groups_of(scored[name]) for name in columns}
    for asked in asked_of(predictions, confidence=stored.settings.confidence):
        attributes = [
            Attribute(name, groups, index[asked.rows], planned=name in planned)
            for name, (groups, index) in divided.items()
        ]
        told += [{"question": asked.question.name, **it} for it in subgroup_numbers(asked.question, attributes)]
    adjust_interactions(told)  # the tests of all questions are one family
    absent = [name for name in planned if name not in scored.columns]
    return told + [{"attribute": name, "planned": True, "note": "no such column in these data"} for name in absent]


def strata(stored: Stored) -> list[dict[str, Any]]:
    """One entry a column that says how the reference label was come by: the numbers of each of its values."""
    scored, roles = stored.predictions.scored, _roles(stored)
    asked = list(asked_of(stored.predictions, confidence=stored.settings.confidence))
    told = []
    for name in scored.columns:
        if roles.get(name) != "reference_standard" or name.startswith(REFERENCE_PREFIX):
            continue
        values, index = groups_of(scored[name])
        told.append(
            {
                "attribute": name,
                "groups": {value: _stratum(asked, index == place) for place, value in enumerate(values)},
            }
        )
    return told


def worst(stored: Stored) -> dict[str, Any]:
    """How many rows have each status, and each question with its failed cases counted as wrong answers."""
    predictions = stored.predictions
    frame = predictions.frame
    counts = dict(sorted(frame["status"].value_counts().iter_rows()))
    told: dict[str, Any] = {"statuses": counts, "counted_as_wrong": list(FAILED), "questions": {}}
    failed = frame.filter(pl.col("status").is_in(FAILED))
    if not failed.height:
        return told
    every = predictions.group_of_rows or _own(frame)
    scored = _group_index(predictions)
    known = dict(zip(predictions.groups or _own(predictions.scored), scored.tolist(), strict=True))
    groups = [group for group, status in zip(every, frame["status"], strict=True) if status in FAILED]
    first_own = int(scored.max()) + 1
    numbered = {name: first_own + place for place, name in enumerate(sorted(set(groups) - set(known)))} | known
    group_index = np.array([numbered[name] for name in groups], dtype=np.int64)
    for asked in asked_of(predictions, confidence=stored.settings.confidence):
        answers = _references_of(failed, predictions, asked.classes)
        as_positive, as_negative = (np.isin(answers, [side, -1]) for side in (1, 0))
        positive = np.repeat([True, False], [as_positive.sum(), as_negative.sum()])
        index = np.concatenate([group_index[as_positive], group_index[as_negative]])
        note = _NO_REFERENCE if (answers == -1).any() else None
        told["questions"][asked.question.name] = {**worst_case(asked.question, positive, index), "note": note}
    return told


def readers(stored: Stored) -> list[dict[str, Any]]:
    """One entry a reader and question, and one a reader who names classes; columns that cannot be read are told."""
    predictions, settings = stored.predictions, stored.settings
    columns = [name for name in predictions.scored.columns if name.startswith(READER_PREFIX)]
    if predictions.is_multi_label:
        note = "readers are compared where an image has one class"
        return [{"reader": name.removeprefix(READER_PREFIX), "note": note} for name in columns]
    said = {name: _Said.of(predictions, name) for name in columns}
    told: list[dict[str, Any]] = [
        {"reader": name.removeprefix(READER_PREFIX), "note": it} for name, it in said.items() if isinstance(it, str)
    ]
    people = [it for it in said.values() if not isinstance(it, str)]
    how: dict[str, Any] = {"num_resamples": settings.num_resamples}
    for person in people:
        if person.named is not None and len(predictions.classes) > 2 and person.given.any():
            found = _class_agreement(predictions, person, confidence=settings.confidence, **how)
            told.append({"reader": person.name, "question": None, **found})
    for asked in asked_of(predictions, confidence=settings.confidence):
        places = [predictions.classes.index(name) for name in asked.classes]
        told += reader_numbers(asked.question, [person.answers(places) for person in people], **how)
    adjust_tests(told)  # the tests of all questions are one family
    return told


@dataclass(frozen=True)
class _Said:
    """A reader's column as read: classes that were named, or numbers about the positive class."""

    name: str
    given: Bool[np.ndarray, "scored"]
    named: Int[np.ndarray, "scored"] | None
    numbers: np.ndarray

    @classmethod
    def of(cls, predictions: Predictions, column: str) -> "_Said | str":
        """The column; or why it cannot be read."""
        name, classes = column.removeprefix(READER_PREFIX), predictions.classes
        texts = [(value or "").strip() for value in predictions.scored[column].cast(pl.String)]
        given = np.array([text != "" for text in texts], dtype=bool)
        if all(text in classes for text in texts if text):
            place = {name: index for index, name in enumerate(classes)}
            return cls(name, given, np.array([place.get(text, 0) for text in texts], dtype=np.int64), np.zeros(0))
        try:
            numbers = np.array([float(text or 0) for text in texts])
        except ValueError:
            stranger = next(text for text in texts if text and text not in classes)
            return f"answers must be classes ({', '.join(classes)}) or numbers, not {stranger!r}"
        if predictions.positive is None:
            return "numbers answer for the positive class of two; of more classes a reader names one"
        if not np.isfinite(numbers).all():
            return "ratings must be finite numbers"
        return cls(name, given, None, numbers)

    def answers(self, places: list[int]) -> Answers:
        """What the reader said to the question of these classes."""
        if self.named is not None:
            return Answers(self.name, self.given, np.isin(self.named, places).astype(float))
        is_rating = not np.isin(self.numbers[self.given], (0, 1)).all()
        return Answers(self.name, self.given, self.numbers, is_rating)


def _class_agreement(predictions: Predictions, person: _Said, **how: Any) -> dict[str, Any]:
    """Kappa over all classes, on the images for which this reader named one."""
    assert person.named is not None
    rows, y_pred = person.given, predictions.y_prob.argmax(axis=1)
    return class_agreement(
        predictions.y_true[rows],
        y_pred[rows],
        person.named[rows],
        _group_index(predictions)[rows],
        num_classes=len(predictions.classes),
        **how,
    )


def _stratum(asked: list[Asked], inside: Bool[np.ndarray, "scored"]) -> dict[str, Any]:
    questions = {each.question.name: part_numbers(each.question, inside[each.rows]) for each in asked}
    return {"images": int(inside.sum()), "questions": questions}


def _roles(stored: Stored) -> dict[str, ColumnRole]:
    if stored.manifest is not None:
        return dict(stored.manifest.roles)
    return known_roles(stored.predictions.frame.columns)


def _group_index(predictions: Predictions) -> Int[np.ndarray, "scored"]:
    return number_groups(predictions.groups or _own(predictions.scored), predictions.scored.height)


def _own(rows: pl.DataFrame) -> list[str]:
    """Every row as a group of its own."""
    return rows["sample_id"].cast(pl.String).to_list()


def _references_of(rows: pl.DataFrame, predictions: Predictions, classes: tuple[str, ...]) -> Int[np.ndarray, "_rows"]:
    """1 and 0 where the reference answer to the question of these classes is known, -1 where it is not.

    Of several labels, -2 where the class was not assessed: then the question was not asked.
    """
    if predictions.is_multi_label:
        return rows[f"{REFERENCE_PREFIX}{classes[0]}"].cast(pl.Int64).fill_null(-2).to_numpy()
    labels = rows["y_true"].cast(pl.String)
    return np.array(
        [-1 if label not in predictions.classes else int(label in classes) for label in labels], dtype=np.int64
    )
