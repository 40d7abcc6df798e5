"""Subgroups: intervals against statsmodels and Sidak, the test by simulation, and what may not be said."""

import dataclasses

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.subgroups import (
    COUNTS_ONLY,
    Attribute,
    adjust_interactions,
    simultaneous_confidence,
    subgroup_numbers,
)


def drawn(
    seed: int = 0, *, n: int = 600, shares=(0.5, 0.5), error_of_last: float = 0.1, group_size: int = 1
) -> tuple[BinaryQuestion, Attribute]:
    """Right answers in 90 % of images, in the last group of the attribute in 1 - `error_of_last`."""
    rng = np.random.default_rng(seed)
    num_groups = n // group_size
    of_patient = rng.choice(len(shares), size=num_groups, p=shares)
    patient = np.arange(num_groups).repeat(group_size)
    index = of_patient[patient]
    positive = (rng.uniform(size=num_groups) < 0.4)[patient]
    error = np.where(index == len(shares) - 1, error_of_last, 0.1)
    right = (rng.uniform(size=num_groups)[patient] if group_size > 1 else rng.uniform(size=n)) >= error
    called = positive == right
    score = np.clip(0.5 + 0.2 * rng.uniform(size=n) * np.where(called, 1, -1), 0, 1)
    names = tuple("abcdefgh"[: len(shares)])
    return BinaryQuestion("sick", positive, score, called, patient), Attribute("tone", names, index)


def test_two_groups_are_newcombes_interval():
    question, attribute = drawn(n=200)
    entry = subgroup_numbers(question, [attribute])[0]
    side = question.positive
    found, of = ([int((x & side & (attribute.index == k)).sum()) for k in (0, 1)] for x in (question.called, side))
    low, high = confint_proportions_2indep(found[0], of[0], found[1], of[1], compare="diff", method="newcomb")
    difference = entry["groups"]["a"]["difference_to_rest"]["sensitivity"]
    assert difference["value"] == pytest.approx(found[0] / of[0] - found[1] / of[1])
    assert (difference["low"], difference["high"]) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    other = entry["groups"]["b"]["difference_to_rest"]["sensitivity"]
    assert (other["value"], other["low"]) == (-difference["value"], pytest.approx(-difference["high"]))


@pytest.mark.parametrize("compared", [1, 3, 8])
def test_independent_estimates_need_sidaks_level(compared):
    found = simultaneous_confidence(np.eye(compared), confidence=0.95, seed=1)
    assert 1 - found == pytest.approx(1 - 0.95 ** (1 / compared), rel=0.1)


def test_equal_estimates_need_no_correction():
    one = np.random.default_rng(0).normal(size=(1, 50))
    assert simultaneous_confidence(np.repeat(one, 5, axis=0), confidence=0.9, seed=0) == pytest.approx(0.9, abs=0.004)


def test_limits_grow_with_the_number_of_groups_and_are_never_of_width_zero():
    question, attribute = drawn(n=2000, shares=(0.4, 0.2, 0.2, 0.2), error_of_last=0.0)
    many = subgroup_numbers(question, [attribute])[0]["groups"]["a"]["difference_to_rest"]["sensitivity"]
    pair = Attribute("pair", ("a", "rest"), (attribute.index > 0).astype(np.int64))
    two = subgroup_numbers(question, [pair])[0]["groups"]["a"]["difference_to_rest"]["sensitivity"]
    assert many["value"] == two["value"]
    assert many["high"] - many["low"] > 1.1 * (two["high"] - two["low"])
    perfect = BinaryQuestion(
        "sick", question.positive, question.positive * 0.5, question.positive, question.group_index
    )
    for entry in subgroup_numbers(perfect, [attribute])[0]["groups"].values():
        for difference in entry["difference_to_rest"].values():
            assert difference["value"] == 0
            assert difference["low"] < 0 < difference["high"]


def test_images_of_a_patient_are_not_independent():
    question, attribute = drawn(n=600, group_size=3)
    apart = BinaryQuestion("sick", question.positive, question.score, question.called, np.arange(600))
    widths = []
    for asked in (question, apart):
        difference = subgroup_numbers(asked, [attribute])[0]["groups"]["a"]["difference_to_rest"]["specificity"]
        widths.append(difference["high"] - difference["low"])
    assert widths[0] > 1.4 * widths[1]  # sqrt(3) for images that are fully alike


def test_the_interval_of_the_auroc_of_one_group_is_the_envelope():
    question, attribute = drawn(n=300)
    entry = subgroup_numbers(question, [attribute])[0]
    rows = attribute.index == 0
    assert entry["groups"]["a"]["auroc"]["value"] == question.part(rows).auroc().value
    gap = entry["groups"]["a"]["difference_to_rest"]["auroc"]
    assert gap["value"] == pytest.approx(question.part(rows).auroc().value - question.part(~rows).auroc().value)


@pytest.mark.parametrize("group_size", [1, 3])
def test_the_test_keeps_its_level_and_finds_a_gap(group_size):
    sets = 300
    p_values, found = [], []
    for seed in range(sets):
        size = {"n": 300 * group_size, "shares": (0.5, 0.3, 0.2), "group_size": group_size}
        for errors, told in ((0.1, p_values), (0.35, found)):
            question, attribute = drawn(seed, **size, error_of_last=errors)
            told.append(_interaction_of(question, attribute))
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / sets)
    assert np.mean(np.array(p_values) < 0.05) <= bound
    assert np.mean(np.array(found) < 0.05) > 0.8


def _interaction_of(question, attribute) -> float:
    from chiron.metrics.subgroups import _interaction

    return _interaction(question, {name: attribute.rows(name) for name in attribute.groups})["p_value"]


def test_small_groups_have_counts_only_and_are_not_compared():
    question, attribute = drawn(n=400, shares=(0.6, 0.37, 0.03))
    entry = subgroup_numbers(question, [attribute])[0]
    small = entry["groups"]["c"]
    assert small["images"] == (attribute.index == 2).sum() > 0
    assert small["positives"] < 10
    assert "difference_to_rest" not in small
    assert {small[key]["value"] for key in ("sensitivity", "specificity", "auroc")} == {None}
    assert small["sensitivity"]["note"] == COUNTS_ONLY
    assert not any(" c against" in said for said in entry["cannot_be_excluded"])


@pytest.mark.parametrize("patients", [1, 2])
def test_few_patients_with_many_images_are_not_tested(patients):
    """Twelve positives of one or two patients do not show how much patients differ: no p-value, and no error."""
    question, attribute = drawn(n=200)
    positive, groups = question.positive.copy(), question.group_index.copy()
    positive[:40], attribute.index[:] = np.arange(40) < 12, np.arange(200) < 40
    groups[:12] = np.arange(12) % patients
    right = (question.called == question.positive) & (np.arange(200) > 2)
    question = BinaryQuestion("sick", positive, question.score, positive == right, groups)
    (entry,) = subgroup_numbers(question, [attribute])
    assert entry["groups"]["b"]["positives"] == 12
    assert entry["interaction"]["p_value"] is None
    assert "independent" in entry["interaction"]["note"]


def test_one_test_an_attribute_and_holm_over_them():
    question, tone = drawn(n=900, shares=(0.5, 0.5), error_of_last=0.3)
    by_chance = Attribute("sex", ("x", "y"), np.random.default_rng(5).integers(2, size=900))
    lonely = Attribute("site", ("here",), np.zeros(900, np.int64))
    first, second, third = subgroup_numbers(question, [tone, by_chance, lonely])
    assert first["interaction"]["p_adjusted"] == pytest.approx(min(1, 2 * first["interaction"]["p_value"]))
    assert first["interaction"]["p_adjusted"] < 0.01
    assert second["interaction"]["p_adjusted"] >= second["interaction"]["p_value"] > 0.05
    assert third["interaction"]["p_value"] is None
    assert "two groups" in third["interaction"]["note"]


def test_what_was_not_planned_does_not_weaken_the_plan():
    question, tone = drawn(n=900, shares=(0.5, 0.5), error_of_last=0.1)
    columns = np.random.default_rng(5).integers(2, size=(4, 900))
    others = [Attribute(f"column {k}", ("x", "y"), column) for k, column in enumerate(columns)]
    planned = dataclasses.replace(tone, planned=True)
    alone = subgroup_numbers(question, [planned])[0]["interaction"]
    first, *rest = (entry["interaction"] for entry in subgroup_numbers(question, [planned, *others]))
    assert first["p_adjusted"] == alone["p_adjusted"] == alone["p_value"]
    smallest = min(rest, key=lambda test: test["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(min(1, 4 * smallest["p_value"]))


def test_a_planned_test_that_cannot_be_made_counts():
    question, tone = drawn(n=900, shares=(0.5, 0.5), error_of_last=0.1)
    lonely = Attribute("site", ("here",), np.zeros(900, np.int64), planned=True)
    first, second = subgroup_numbers(question, [dataclasses.replace(tone, planned=True), lonely])
    assert first["interaction"]["p_adjusted"] == pytest.approx(min(1, 2 * first["interaction"]["p_value"]))
    assert second["interaction"]["p_adjusted"] is None


def test_attributes_of_several_questions_are_one_family():
    question, tone = drawn(n=900, shares=(0.5, 0.5), error_of_last=0.1)
    turned = BinaryQuestion("well", ~question.positive, 1 - question.score, ~question.called, question.group_index)
    told = [entry for asked in (question, turned) for entry in subgroup_numbers(asked, [tone])]
    p_value = told[0]["interaction"]["p_value"]
    assert told[0]["interaction"]["p_adjusted"] == p_value
    adjust_interactions(told)
    assert [it["interaction"]["p_adjusted"] for it in told] == pytest.approx([min(1, 2 * p_value)] * 2)


def test_no_sentence_says_that_there_is_no_gap():
    question, attribute = drawn(n=900)
    (entry,) = subgroup_numbers(question, [attribute])
    assert len(entry["cannot_be_excluded"]) == 3
    for said in entry["cannot_be_excluded"]:
        assert "a gap up to 0." in said
        assert "cannot be excluded" in said
        assert "no bias" not in said
    sides = [abs(entry["groups"]["a"]["difference_to_rest"]["sensitivity"][key]) for key in ("low", "high")]
    assert f"{max(sides):.3f}" in entry["cannot_be_excluded"][0]


def test_the_order_of_rows_changes_nothing():
    question, attribute = drawn(n=300, shares=(0.5, 0.3, 0.2))
    order = np.random.default_rng(1).permutation(300)
    shuffled = Attribute("tone", attribute.groups, attribute.index[order])
    arrays = (question.positive[order], question.score[order], question.called[order], question.group_index[order])
    one = subgroup_numbers(question, [attribute])[0]
    other = subgroup_numbers(BinaryQuestion("sick", *arrays), [shuffled])[0]
    for name, entry in one["groups"].items():
        for metric, difference in entry["difference_to_rest"].items():
            assert difference["low"] == pytest.approx(other["groups"][name]["difference_to_rest"][metric]["low"])
