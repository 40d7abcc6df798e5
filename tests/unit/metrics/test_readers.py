"""Readers beside the model: the same images, points by hand, one family of tests."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score, roc_curve

from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.comparison.models import compare_models
from chiron.metrics.readers import Answers, reader_numbers


def drawn(n: int = 120):
    rng = np.random.default_rng(3)
    positive = rng.uniform(size=n) < 0.4
    score = np.clip(0.5 + 0.2 * rng.normal(size=n) + 0.2 * (2 * positive - 1), 0.01, 0.99)
    worse = np.where(rng.uniform(size=n) < 0.7, positive, ~positive).astype(float)
    rating = np.clip(np.round(2 + positive * 1.5 + rng.normal(size=n)), 1, 5)
    return BinaryQuestion("sick", positive, score, score >= 0.5, np.arange(n)), worse, rating


def test_points_and_agreement_on_the_images_that_were_read():
    question, worse, _ = drawn()
    given = np.arange(120) < 100
    (told,) = reader_numbers(question, [Answers("anna", given, worse)], num_resamples=200)
    assert (told["images"], told["not_answered"]) == (100, 20)
    sick, said = question.positive[:100], worse[:100] > 0
    assert told["points"][0]["sensitivity"]["value"] == pytest.approx(said[sick].mean())
    assert told["points"][0]["specificity"]["value"] == pytest.approx(1 - said[~sick].mean())
    assert told["model"]["sensitivity"]["value"] == pytest.approx(question.called[:100][sick].mean())
    assert told["kappa_with_reference"]["value"] == pytest.approx(cohen_kappa_score(sick, said))
    assert told["kappa_with_model"]["value"] == pytest.approx(cohen_kappa_score(question.called[:100], said))
    test = told["model_against_reader"]["sensitivity"]
    assert test["model_only_right"] == int((question.called[:100] & ~said)[sick].sum())
    assert test["difference"] == pytest.approx(question.called[:100][sick].mean() - said[sick].mean())
    alone, total = (test["model_only_right"], test["reader_only_right"]), sick.sum() + 2
    model, reader = ((count + 1) / total for count in alone)  # Bonett and Price: half a case more in every cell
    half = 1.959964 * np.sqrt((model + reader - (model - reader) ** 2) / total)
    assert (test["low"], test["high"]) == pytest.approx((model - reader - half, model - reader + half), abs=1e-6)


def test_tests_of_all_readers_are_one_family():
    question, worse, _ = drawn()
    everyone = np.ones(120, bool)
    told = reader_numbers(question, [Answers("a", everyone, worse), Answers("b", everyone, worse)], num_resamples=200)
    p_values = [told[0]["model_against_reader"][side] for side in ("sensitivity", "specificity")]
    smallest = min(p_values, key=lambda test: test["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(min(1, 4 * smallest["p_value"]))


def test_a_rating_has_a_curve():
    question, _, rating = drawn()
    (told,) = reader_numbers(question, [Answers("eva", np.ones(120, bool), rating, is_rating=True)], num_resamples=200)
    assert told["auroc"]["value"] == pytest.approx(roc_auc_score(question.positive, rating))
    assert told["model_auroc"]["value"] == pytest.approx(roc_auc_score(question.positive, question.score))
    fpr, tpr, cuts = roc_curve(question.positive, rating, drop_intermediate=False)
    for point in told["points"]:
        place = list(cuts).index(point["from"])
        assert point["sensitivity"]["value"] == pytest.approx(tpr[place])
        assert 1 - point["specificity"]["value"] == pytest.approx(fpr[place])
    assert [point["from"] for point in told["points"]] == [2, 3, 4, 5]


def test_a_rating_has_a_paired_test_of_its_auroc():
    """The one that two models of the same scores have in a comparison, on the images that were read."""
    question, _, rating = drawn()
    given = np.arange(120) < 100
    people = [Answers(name, given, rating, is_rating=True) for name in ("eva", "ute")]
    groups = np.arange(120) // 2
    for index, ids in ((np.arange(120), None), (groups, groups[:100].tolist())):
        told, other = reader_numbers(dataclasses.replace(question, group_index=index), people)
        test = told["model_against_reader"]["auroc"]
        probs = [np.stack([1 - it, it], axis=1) for it in (rating[:100] / 6, question.score[:100])]
        (expected,) = compare_models(
            question.positive[:100].astype(np.int64),
            dict(zip("rm", probs, strict=True)),
            classes=("no", "yes"),
            positive="yes",
            groups=ids,
            metrics=["auroc"],
        )
        finding = expected.finding
        assert [test[key] for key in ("difference", "low", "high", "p_value", "method")] == pytest.approx(
            [finding.difference, finding.low, finding.high, finding.p_value, finding.test]
        )
        assert told["model_auroc"]["value"] - told["auroc"]["value"] == pytest.approx(test["difference"])
        assert [it["model_against_reader"]["auroc"]["p_adjusted"] for it in (told, other)] == pytest.approx(
            [min(1, 2 * finding.p_value)] * 2
        )


def test_a_rating_in_the_models_order_has_p_one_and_one_of_few_images_a_note():
    question, _, _ = drawn()
    (same,) = reader_numbers(question, [Answers("eva", np.ones(120, bool), 3 * question.score, is_rating=True)])
    test = same["model_against_reader"]["auroc"]
    assert (test["difference"], test["p_value"], test["low"]) == (0, 1.0, None)
    few = np.arange(120) < 15
    (told,) = reader_numbers(question, [Answers("eva", few, question.score**2, is_rating=True)])
    assert "of 10 needed" in told["model_against_reader"]["auroc"]["note"]
    (told,) = reader_numbers(question, [Answers("eva", question.positive, question.score, is_rating=True)])
    assert told["model_against_reader"]["auroc"] is None


def test_who_answered_nothing_is_not_told():
    question, worse, _ = drawn()
    assert reader_numbers(question, [Answers("nobody", np.zeros(120, bool), worse)]) == []
