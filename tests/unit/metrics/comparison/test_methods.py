"""Training methods over seeds and over folds."""

import dataclasses

import numpy as np
import pytest
from scipy import special, stats

from chiron.core.errors import MetricError
from chiron.metrics.comparison.folds import Fold, compare_folds, corrected_spread
from chiron.metrics.comparison.methods import compare_methods, seeds_and_cases

OPTIONS = {"classes": ("well", "sick"), "positive": "sick"}


def outputs(random, y_true, strength, shared):
    prob = special.expit(strength * (2 * y_true - 1) + shared + 0.7 * random.normal(size=len(y_true)))
    return np.stack([1 - prob, prob], axis=1)


@pytest.fixture
def cases(random):
    return random.integers(0, 2, 200), random.normal(size=200)


def test_the_variance_is_that_of_cases_and_seeds():
    first, second = [0.80, 0.82, 0.87], [0.90, 0.91, 0.95, 0.92]
    spread = seeds_and_cases(0.0004, 99, first, second)
    parts = np.array([0.0004, np.var(first, ddof=1) / 3, np.var(second, ddof=1) / 4])
    assert spread.error == pytest.approx(np.sqrt(parts.sum()), abs=1e-15)
    assert spread.degrees_of_freedom == pytest.approx(parts.sum() ** 2 / (parts**2 / [99, 2, 3]).sum())


def test_without_variance_of_cases_it_is_welchs_test():
    first, second = [0.80, 0.82, 0.87], [0.90, 0.91, 0.95, 0.92]
    spread = seeds_and_cases(0.0, 99, first, second)
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert (np.mean(second) - np.mean(first)) / spread.error == pytest.approx(expected.statistic)
    assert spread.degrees_of_freedom == pytest.approx(expected.df)


def test_methods_are_compared_by_their_means(cases, random):
    y_true, shared = cases
    y_prob = {
        "cnn": [outputs(random, y_true, strength, shared) for strength in (1.0, 1.1, 0.9)],
        "hybrid": [outputs(random, y_true, strength, shared) for strength in (1.9, 2.1, 2.0)],
    }
    for metric in ("accuracy", "auroc", "brier"):
        (found,) = compare_methods(y_true, y_prob, groups=None, metrics=[metric], num_resamples=300, **OPTIONS)
        assert found.finding.first_value == pytest.approx(np.mean(found.first_values))
        assert found.finding.difference == pytest.approx(found.finding.second_value - found.finding.first_value)
        assert found.finding.verdict == "better"
        of_seeds = found.first_seed_sd**2 / 3 + found.second_seed_sd**2 / 3
        assert found.error == pytest.approx(np.sqrt(found.case_error**2 + of_seeds))
        half = stats.t.ppf(0.975, found.degrees_of_freedom) * found.error
        assert found.finding.low == pytest.approx(found.finding.difference - half)
    right = {
        name: np.mean([prob.argmax(axis=1) == y_true for prob in of_one], axis=0) for name, of_one in y_prob.items()
    }
    (found,) = compare_methods(y_true, y_prob, groups=None, metrics=["accuracy"], **OPTIONS)
    change = right["hybrid"] - right["cnn"]
    assert found.case_error == pytest.approx(np.sqrt(change.var(ddof=1) / 200))


def test_two_seeds_are_too_few(cases, random):
    y_true, shared = cases
    y_prob = {
        "a": [outputs(random, y_true, 1, shared)] * 1,
        "b": [outputs(random, y_true, 5, shared) for _ in range(3)],
    }
    (found,) = compare_methods(y_true, y_prob, groups=None, metrics=["auroc"], margin=0.9, **OPTIONS)
    assert found.finding.p_value is None
    assert found.finding.adjusted_p is None
    assert found.finding.low is None
    assert found.finding.margin.equivalent is None
    assert found.finding.words == "auroc: no verdict: each method needs at least 3 seeds, and has 1 and 3"


def test_copies_of_one_run_are_not_seeds(cases, random):
    y_true, shared = cases
    one = outputs(random, y_true, 1, shared)
    y_prob = {"a": [one, one, one], "b": [outputs(random, y_true, 5, shared) for _ in range(3)]}
    (found,) = compare_methods(y_true, y_prob, groups=None, metrics=["auroc"], **OPTIONS)
    assert found.finding.verdict == "no verdict"
    assert "not several seeds" in found.finding.words
    (same,) = compare_methods(y_true, {"a": [one] * 3, "b": [one] * 3}, groups=None, metrics=["auroc"], **OPTIONS)
    assert same.finding.verdict == "identical predictions"
    assert same.finding.p_value == 1.0


def test_three_methods_are_one_family(cases, random):
    y_true, shared = cases
    y_prob = {name: [outputs(random, y_true, 1, shared) for _ in range(3)] for name in "abc"}
    found = compare_methods(y_true, y_prob, groups=None, metrics=["auroc"], num_resamples=300, **OPTIONS)
    assert [f.finding.second for f in found] == ["b", "c"]
    for one in found:
        assert one.finding.simultaneous[0] < one.finding.low < one.finding.high < one.finding.simultaneous[1]


def test_seeds_of_two_numbers_are_not_taken_to_vary_together(random):
    """Where seeds vary far more than cases, two numbers need about Sidak's level and not that of one."""
    y_true, shared = random.integers(0, 2, 4000), 0.3 * random.normal(size=4000)
    y_prob = {
        name: [outputs(random, y_true, strength, shared) for strength in strengths]
        for name, strengths in (("a", (0.2, 1.0, 2.5)), ("b", (0.3, 1.2, 2.4)))
    }
    found = compare_methods(y_true, y_prob, groups=None, metrics=["auroc", "log_loss"], **OPTIONS)
    for one in found:
        level = 0.95**0.5
        assert one.error > 5 * one.case_error
        half = stats.t.ppf((1 + level) / 2, one.degrees_of_freedom) * one.error
        low, high = one.finding.simultaneous
        assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_methods_without_runs_count_in_the_family(cases, random):
    y_true, shared = cases
    y_prob = {name: [outputs(random, y_true, k, shared) for _ in range(3)] for k, name in enumerate("ab", 1)}
    how = {"groups": None, "metrics": ["auroc"], "num_resamples": 300, **OPTIONS}
    (alone,) = compare_methods(y_true, y_prob, **how)
    one, *others = compare_methods(y_true, y_prob, untested={"c": "no run of c", "d": "no run of d"}, **how)
    assert one.finding.p_value == alone.finding.p_value
    assert one.finding.adjusted_p == pytest.approx(min(1, 3 * alone.finding.p_value))
    high = one.finding.simultaneous[1]
    level = stats.t.cdf((high - one.finding.difference) / one.error, one.degrees_of_freedom)
    assert 2 * level - 1 == pytest.approx(1 - 0.05 / 3)
    assert [it.finding.words for it in others] == ["auroc: no verdict: no run of c", "auroc: no verdict: no run of d"]
    assert [it.finding.second_value for it in others] == [None, None]
    assert others[0].finding.first_value == alone.finding.first_value


def test_two_seeds_beside_three_count_in_the_family(cases, random):
    y_true, shared = cases
    y_prob = {name: [outputs(random, y_true, 1, shared) for _ in range(3)] for name in "abc"}
    y_prob["c"] = y_prob["c"][:2]
    one, other = compare_methods(y_true, y_prob, groups=None, metrics=["auroc"], num_resamples=300, **OPTIONS)
    assert other.finding.p_value is None
    assert one.finding.adjusted_p == pytest.approx(min(1, 2 * one.finding.p_value))
    level = stats.t.cdf((one.finding.simultaneous[1] - one.finding.difference) / one.error, one.degrees_of_freedom)
    assert 2 * level - 1 == pytest.approx(0.975)


def test_seeds_of_ratios_are_averaged_as_logs(cases, random):
    y_true, shared = cases
    y_prob = {
        name: [outputs(random, y_true, strength, shared) for strength in strengths]
        for name, strengths in (("a", (0.8, 1.0, 1.2)), ("b", (1.3, 1.5, 1.7)))
    }
    (found,) = compare_methods(y_true, y_prob, groups=None, metrics=["positive_likelihood_ratio"], **OPTIONS)
    called = [[prob[:, 1] > prob[:, 0] for prob in y_prob[name]] for name in "ab"]
    ratios = [[one[y_true == 1].mean() / one[y_true == 0].mean() for one in of_method] for of_method in called]
    assert found.first_values == pytest.approx(ratios[0])
    assert found.finding.first_value == pytest.approx(stats.gmean(ratios[0]))
    assert found.finding.difference == pytest.approx(np.log(stats.gmean(ratios[1]) / stats.gmean(ratios[0])))
    assert found.first_seed_sd == pytest.approx(np.std(np.log(ratios[0]), ddof=1))
    half = stats.t.ppf(0.975, found.degrees_of_freedom) * found.error
    assert found.finding.low == pytest.approx(found.finding.difference - half)


def test_folds_by_hand():
    differences = [0.02, 0.05, 0.01, 0.03, 0.04]
    spread = corrected_spread(differences, 0.25)
    assert spread.error == pytest.approx(np.sqrt((1 / 5 + 0.25) * np.var(differences, ddof=1)))
    assert spread.degrees_of_freedom == 4


def make_folds(random, count, strengths=(1.0, 2.0), offset=0.0):
    folds = []
    for k in range(count):
        y_true = np.tile([0, 1], 30)
        shared = random.normal(size=60)
        probs = {}
        for name, strength in zip(("cnn", "hybrid"), strengths, strict=True):
            logit = special.logit(np.clip(outputs(random, y_true, strength, shared)[:, 1], 1e-9, 1 - 1e-9))
            prob = special.expit(logit + offset * k)
            probs[name] = [np.stack([1 - prob, prob], axis=1)]
        folds.append(Fold(y_true, probs, None))
    return folds


def test_the_scale_of_a_folds_outputs_plays_no_part(random):
    """Pooled, outputs shifted fold by fold would lose their ranks."""
    seed = random.integers(2**31)
    plain, shifted = (
        compare_folds(make_folds(np.random.default_rng(seed), 5, offset=offset), metrics=["auroc"], **OPTIONS)[0]
        for offset in (0.0, 1.5)
    )
    assert shifted.first_values == pytest.approx(plain.first_values, abs=1e-12)
    assert shifted.finding.p_value == pytest.approx(plain.finding.p_value)
    differences = np.array(plain.second_values) - np.array(plain.first_values)
    expected = corrected_spread(differences.tolist(), 60 / 240)
    assert plain.error == pytest.approx(expected.error)
    assert plain.finding.p_value == pytest.approx(2 * stats.t.sf(abs(differences.mean()) / expected.error, 4))
    assert plain.num_images == 300


def test_cases_that_taught_no_weight_do_not_make_the_folds_error_smaller(random):
    """Of 300 cases 60 test, and 60 of the other 240 only choose the epoch: 60 / 180 and not 60 / 240."""
    folds = make_folds(random, 5)
    (others,) = compare_folds(folds, metrics=["auroc"], **OPTIONS)
    told = [dataclasses.replace(fold, test_share=60 / 180) for fold in folds]
    (found,) = compare_folds(told, metrics=["auroc"], **OPTIONS)
    assert found.error / others.error == pytest.approx(np.sqrt((1 / 5 + 1 / 3) / (1 / 5 + 1 / 4)))


def test_methods_without_folds_count_in_the_family(random):
    folds = make_folds(random, 5)
    (alone,) = compare_folds(folds, metrics=["auroc"], **OPTIONS)
    one, other = compare_folds(folds, metrics=["auroc"], untested={"c": "no training of fold 2"}, **OPTIONS)
    assert one.finding.adjusted_p == pytest.approx(2 * alone.finding.p_value)
    half = stats.t.ppf(1 - 0.05 / 4, 4) * one.error
    assert one.finding.simultaneous == pytest.approx([one.finding.difference - half, one.finding.difference + half])
    assert other.finding.words == "auroc: no verdict: no training of fold 2"


def test_few_or_undefined_folds_have_no_test(random):
    (found,) = compare_folds(make_folds(random, 2), metrics=["auroc"], **OPTIONS)
    assert found.finding.p_value is None
    assert "needs at least 3" in found.finding.words
    folds = make_folds(random, 3)
    folds[1] = Fold(np.ones(60, dtype=np.int64), folds[1].y_prob, None)
    (found,) = compare_folds(folds, metrics=["auroc"], **OPTIONS)
    assert found.finding.difference is None
    assert "not defined in 1 of 3 folds" in found.finding.words
    assert found.first_values[1] is None


def test_folds_that_differ_by_the_same_have_no_test():
    """An image a fold more is right: the differences are equal but for rounding, which is no error to test against."""
    y_true = np.tile([0, 1], 25)

    def right_in(count):
        prob = np.where((y_true == 1) == (np.arange(50) < count), 0.9, 0.1)
        return [np.stack([1 - prob, prob], axis=1)]

    folds = [Fold(y_true, {"cnn": right_in(k), "hybrid": right_in(k + 1)}, None) for k in (40, 37, 29)]
    (found,) = compare_folds(folds, metrics=["accuracy"], **OPTIONS)
    assert found.finding.difference == pytest.approx(0.02)
    assert (found.finding.p_value, found.finding.low, found.finding.verdict) == (None, None, "no verdict")
    assert "differ by the same" in found.finding.words


def test_folds_of_other_methods_are_refused(random):
    folds = make_folds(random, 3)
    folds[2] = Fold(folds[2].y_true, {"cnn": folds[2].y_prob["cnn"]}, None)
    with pytest.raises(MetricError, match="same two or more methods"):
        compare_folds(folds, metrics=["auroc"], **OPTIONS)
