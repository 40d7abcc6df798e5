"""Readers: people who answered for the same images, beside the model. Points on the ROC, agreement, paired tests."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.comparison.contrast import DIFFERENCE, by_t
from chiron.metrics.comparison.finding import or_none
from chiron.metrics.comparison.paired_auroc import auroc_contrast
from chiron.metrics.holm import holm
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.metric import Family
from chiron.metrics.raters import kappa, mcnemar

MOST_CUTS = 10  # points of a rating that are told


@dataclass(frozen=True)
class Answers:
    """What one reader said to one question: yes or no, or a rating where more means rather yes."""

    reader: str
    given: Bool[np.ndarray, "n"]  # whether there is an answer
    value: Float[np.ndarray, "n"]  # 1 and 0, or the rating; of no meaning where none was given
    is_rating: bool = False


def reader_numbers(
    question: BinaryQuestion, answers: Sequence[Answers], *, num_resamples: int = 2000
) -> list[dict[str, Any]]:
    """One entry a reader, on the images that the reader answered; `p_adjusted` is Holm's over all tests of all readers.

    Yes or no: sensitivity and specificity of reader and model on the same images, paired tests between them at the
    model's decision, and kappa with reference and model. A rating: AUROC of both, a paired test between them, and a
    point for each cut.
    """
    told = [_of_reader(question, reader, num_resamples) for reader in answers if reader.given.any()]
    adjust_tests(told)
    return told


def adjust_tests(entries: Sequence[dict[str, Any]]) -> None:
    """Sets `p_adjusted` of every test to Holm's over all of them, also of several questions."""
    tests = [test for entry in entries for test in entry.get("model_against_reader", {}).values() if test is not None]
    p_values = [np.nan if test["p_value"] is None else test["p_value"] for test in tests]
    for test, adjusted in zip(tests, holm(p_values)[0], strict=True):
        test["p_adjusted"] = or_none(adjusted)


def _of_reader(question: BinaryQuestion, answers: Answers, num_resamples: int) -> dict[str, Any]:
    model, value = question.part(answers.given), answers.value[answers.given]
    entry: dict[str, Any] = {
        "question": question.name,
        "reader": answers.reader,
        "images": len(value),
        "not_answered": int((~answers.given).sum()),
        "model": {"sensitivity": asdict(model.sensitivity()), "specificity": asdict(model.specificity())},
    }
    if answers.is_rating:
        person = replace(model, score=value)
        entry |= {
            "auroc": asdict(person.auroc()),
            "model_auroc": asdict(model.auroc()),
            "model_against_reader": {"auroc": _paired_auroc(model, person)},
        }
        cuts = np.unique(value)[1:]  # at the lowest rating every image is called
        shown = cuts[np.unique(np.linspace(0, len(cuts) - 1, MOST_CUTS).round().astype(int))] if len(cuts) else cuts
        return entry | {"points": [_point(replace(model, called=value >= cut)) | {"from": float(cut)} for cut in shown]}
    person = replace(model, called=value > 0)
    sides = {"sensitivity": model.positive, "specificity": ~model.positive}
    how: dict[str, Any] = {"num_categories": 2, "num_resamples": num_resamples, "confidence": question.confidence}
    called = person.called.astype(np.int64)
    return entry | {
        "points": [_point(person)],
        "kappa_with_reference": asdict(kappa(model.positive.astype(np.int64), called, model.group_index, **how)),
        "kappa_with_model": asdict(kappa(model.called.astype(np.int64), called, model.group_index, **how)),
        "model_against_reader": {name: _paired(model, person, side) for name, side in sides.items()},
    }


def _point(person: BinaryQuestion) -> dict[str, Any]:
    """A point on the ROC: sensitivity, and 1 - specificity as its specificity."""
    return {"sensitivity": asdict(person.sensitivity()), "specificity": asdict(person.specificity())}


def _paired(model: BinaryQuestion, person: BinaryQuestion, side: Bool[np.ndarray, "n"]) -> dict[str, Any] | None:
    """The test on one side, null where the side has no image."""
    if not side.any():
        return None
    rights = [(one.called == one.positive)[side] for one in (model, person)]
    paired = mcnemar(rights[0], rights[1], model.group_index[side], confidence=model.confidence)
    low, high = paired.limits or (None, None)
    return {
        "model_only_right": paired.first_only,
        "reader_only_right": paired.second_only,
        "difference": float(rights[0].mean() - rights[1].mean()),
        "low": low,
        "high": high,
        "p_value": paired.p_value,
        "p_adjusted": None,
        "method": paired.method,
        "note": None,
    }


def _paired_auroc(model: BinaryQuestion, person: BinaryQuestion) -> dict[str, Any] | None:
    """DeLong's test of the model's score against a rating of the same images, null where an answer has no image."""
    sides = [len(np.unique(model.group_index[side])) for side in (model.positive, ~model.positive)]
    if not min(sides):
        return None
    found = auroc_contrast(model.positive, [person.score, model.score], DIFFERENCE, model.group_index)
    clustered = "" if model.num_groups == len(model.positive) else "clustered "
    error = float(np.sqrt(max(0.0, found.variance)))  # NaN with one group on a side
    tested = by_t(found.value, error, min(sides) - 1, f"paired {clustered}DeLong, t")
    low, high = tested.limits(model.confidence) or (None, None)
    notes = [tested.note, region_note(RULES[Family.AUROC], min(sides), "groups of the smaller side")]
    return {
        "model_only_right": None,
        "reader_only_right": None,
        "difference": tested.value,
        "low": low,
        "high": high,
        "p_value": or_none(tested.p_value),
        "p_adjusted": None,
        "method": tested.test,
        "note": "; ".join(note for note in notes if note) or None,
    }


def class_agreement(
    y_true: Int[np.ndarray, "n"],
    y_pred: Int[np.ndarray, "n"],
    named: Int[np.ndarray, "n"],
    group_index: Int[np.ndarray, "n"],
    *,
    num_classes: int,
    num_resamples: int = 2000,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Kappa over all classes of a reader who named a class, with the reference and with the model.

    Args:
        named: class that the reader named for each image.
    """
    how: dict[str, Any] = {"num_categories": num_classes, "num_resamples": num_resamples, "confidence": confidence}
    return {
        "images": len(named),
        "kappa_with_reference": asdict(kappa(y_true, named, group_index, **how)),
        "kappa_with_model": asdict(kappa(y_pred, named, group_index, **how)),
    }
