"""A question's numbers are those of the evaluation, and on a part of the images those of that part."""

from dataclasses import asdict

import numpy as np
import pytest

from chiron.metrics.binary_question import NO_NEGATIVE, NO_POSITIVE, BinaryQuestion
from chiron.metrics.evaluation import evaluate


def drawn(seed: int = 0, n: int = 160, group_size: int = 2) -> BinaryQuestion:
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // group_size
    positive = rng.uniform(size=n) < 0.4
    score = np.clip(0.5 + 0.15 * rng.normal(size=n) + 0.15 * (2 * positive - 1), 0.01, 0.99)
    return BinaryQuestion("sick", positive, score, score > 0.5, groups)


@pytest.mark.parametrize("group_size", [1, 2])
def test_equal_to_the_evaluation_of_two_classes(group_size):
    question = drawn(group_size=group_size)
    whole = evaluate(
        question.positive.astype(int),
        np.column_stack([1 - question.score, question.score]),
        classes=("well", "sick"),
        positive="sick",
        groups=[f"{index:04d}" for index in question.group_index],
        num_resamples=100,
    )
    for key in ("sensitivity", "specificity", "auroc"):
        mine, theirs = asdict(getattr(question, key)()), asdict(whole.per_class["sick"][key])
        assert mine.pop("value") == pytest.approx(theirs.pop("value"), abs=1e-12)
        assert mine == theirs


def test_a_part_is_asked_alone():
    question, rows = drawn(), np.arange(160) < 90
    found = int((question.called & question.positive)[rows].sum())
    estimate = question.part(rows).sensitivity()
    assert (estimate.value, estimate.num_images) == (
        found / question.positive[rows].sum(),
        question.positive[rows].sum(),
    )


def test_observed_over_expected_by_hand():
    question = drawn()
    estimate, share = question.observed_over_expected(), question.share(question.positive, np.ones(160, bool), "")
    assert estimate.value == pytest.approx(question.positive.sum() / question.score.sum())
    assert estimate.low == pytest.approx(share.low / question.score.mean())
    assert estimate.high == pytest.approx(share.high / question.score.mean())


def test_what_is_not_defined_says_why():
    question = drawn()
    healthy = question.part(~question.positive)
    assert (healthy.sensitivity().value, healthy.sensitivity().note) == (None, NO_POSITIVE)
    assert (healthy.auroc().value, healthy.auroc().note) == (None, NO_POSITIVE)
    sick = question.part(question.positive)
    assert (sick.specificity().note, sick.auroc().note) == (NO_NEGATIVE, NO_NEGATIVE)
    assert healthy.observed_over_expected().value == 0.0
