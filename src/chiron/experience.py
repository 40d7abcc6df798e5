"""What is told beside an output: how often test cases with such an output were right."""

from collections.abc import Iterator
from typing import Any

from chiron.prediction import Prediction
from chiron.scorer import Scorer
from chiron.spec.decision import questions_of
from chiron.spec.experience import FEWEST, Experience, Share

__all__ = ["experience_with"]


def experience_with(scorer: Scorer, prediction: Prediction) -> list[dict[str, Any]]:
    """One entry for the class named and for each answer of a prediction, ready for JSON.

    Empty without evidence, and of an image that is out of scope: test cases say nothing of it.

    Keys: `class` or `question`, `output`, `right`, `of`, `low`, `high` (null with fewer than 5 cases), `missed` beside
    an answer no, `population`, and `words`: one sentence.
    """
    known = scorer.experience
    if known is None or (prediction.scope is not None and not prediction.scope.in_scope):
        return []
    return [*_of_class(known, prediction), *_of_answers(known, scorer, prediction)]


def _of_class(known: Experience, prediction: Prediction) -> Iterator[dict[str, Any]]:
    name, confidence = prediction.predicted_class, prediction.confidence
    found = None if name is None or confidence is None else known.of_class(name, confidence)
    if found is None:
        return
    how = f"{found.from_confidence:.0%} to {found.to_confidence:.0%}"
    words = _said(found.right, f"named {name} with a probability of {how}", "had it")
    yield {"class": name, "question": None, "output": how, **_shown(found.right), **_place(known), "words": words}


def _of_answers(known: Experience, scorer: Scorer, prediction: Prediction) -> Iterator[dict[str, Any]]:
    for question, answer in answers_of(scorer, prediction).items():
        found = known.of_answer(question, answer)
        if found is None:
            continue
        told: dict[str, Any] = {"class": None, "question": question, "output": answer, **_shown(found.right)}
        words = _said(found.right, f"answered {answer} to {question}", "were rightly answered")
        if found.missed is not None:
            missed = _shown(found.missed)
            told["missed"] = {"missed": missed.pop("right"), **missed}
            with_it = _said(found.missed, f"with {question}", "were answered no")
            words = f"An answer no does not rule out {question}: {with_it} {words[0].upper()}{words[1:]}"
        yield told | _place(known) | {"words": words}


def answers_of(scorer: Scorer, prediction: Prediction) -> dict[str, str]:
    """Yes or no to every question over the classes, also where nobody stated one: the class named answers it."""
    if prediction.decisions:
        return {question: it.answer for question, it in prediction.decisions.items()}
    labels = scorer.labels
    asked = questions_of(scorer.decision.questions, labels.names, labels.positive, several=labels.is_multi_label)
    named = prediction.classes_above_half if labels.is_multi_label else (prediction.predicted_class,)
    return {question: "yes" if set(classes) & set(named or ()) else "no" for question, classes in asked.items()}


def _shown(share: Share) -> dict[str, Any]:
    return {"right": share.count, "of": share.total, "low": share.low, "high": share.high}


def _said(share: Share, those: str, came: str) -> str:
    if share.count is None or share.total is None:
        return f"fewer than {FEWEST} test cases {those}."
    limits = "" if share.low is None or share.high is None else f" ({share.low:.0%} to {share.high:.0%})"
    return f"of {share.total} test cases {those}, {share.count} {came}{limits}."


def _place(known: Experience) -> dict[str, str]:
    groups = "" if known.num_groups == known.num_units else f", {known.num_groups:,} groups"
    whose = known.population or "of a population that the bundle does not state"
    return {"population": f"{known.split} split, {known.num_units:,} {known.unit}s{groups}: {whose}"}
