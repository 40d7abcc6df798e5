"""The mean over seeds: its variance by hand, its limits, and what is told where they are missing."""

import numpy as np
import pytest
from scipy import stats

from chiron.core.errors import MetricError
from chiron.metrics.by_name import estimate_by_name, statistic_of
from chiron.metrics.cases import check_cases
from chiron.metrics.evaluation import evaluate
from chiron.metrics.over_seeds import mean_over_folds, mean_over_seeds


def make_runs(rng, *, count=3, n=120, classes=2, noise=1.0):
    y_true = rng.integers(classes, size=n)
    groups = [f"g{k // 2}" for k in range(n)]
    runs = []
    for _ in range(count):
        logits = rng.normal(size=(n, classes)) * noise
        logits[np.arange(n), y_true] += 1.0
        prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        names = tuple("abc"[:classes])
        runs.append(check_cases(y_true, prob, classes=names, positive="b" if classes == 2 else None, groups=groups))
    return runs


def test_variance_and_limits_by_hand():
    runs = make_runs(np.random.default_rng(0))
    found = mean_over_seeds("accuracy", runs, num_resamples=4000)
    right = np.stack([(run.y_pred == run.y_true).astype(float) for run in runs])
    assert found.values == pytest.approx(right.mean(axis=1), abs=1e-12)
    assert found.value == pytest.approx(right.mean(), abs=1e-12)
    assert found.seed_sd == pytest.approx(right.mean(axis=1).std(ddof=1), abs=1e-12)
    of_groups = right.mean(axis=0).reshape(60, 2).sum(axis=1)  # two images a group, all groups equal
    case_se = of_groups.std() / 2 / np.sqrt(60)
    assert found.case_se == pytest.approx(case_se, rel=0.04)
    cases, seeds = found.case_se**2, found.seed_sd**2 / 3
    degrees = (cases + seeds) ** 2 / (cases**2 / 59 + seeds**2 / 2)
    assert found.degrees_of_freedom == pytest.approx(degrees, rel=1e-9)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(cases + seeds) / (found.value * (1 - found.value))
    center = np.log(found.value / (1 - found.value))
    assert [found.low, found.high] == pytest.approx(
        1 / (1 + np.exp(-np.array([center - half, center + half]))), abs=1e-9
    )


@pytest.mark.parametrize("name", ["auroc", "macro_auroc", "balanced_accuracy", "log_loss", "macro_f1"])
def test_every_kind_of_metric_has_limits_around_its_mean(name):
    found = mean_over_seeds(name, make_runs(np.random.default_rng(1), classes=3), num_resamples=300)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("name", ["mcc", "kappa"])
def test_agreement_by_chance_has_limits_on_both_sides_of_zero(name):
    """The least MCC and kappa are -1: a value at or below 0 is not the end of their range."""
    runs = make_runs(np.random.default_rng(5), noise=50.0)
    found = mean_over_seeds(name, runs, num_resamples=300)
    half = stats.t.ppf(0.975, found.degrees_of_freedom) * np.sqrt(found.case_se**2 + found.seed_sd**2 / 3)
    share = (found.value + 1) / 2
    half /= 2 * share * (1 - share)
    limits = 2 / (1 + np.exp(-(np.log(share / (1 - share)) + np.array([-half, half])))) - 1
    assert [found.low, found.high] == pytest.approx(limits, abs=1e-9)
    assert found.low < 0 < found.high


@pytest.mark.parametrize("name", ["mcc", "sensitivity", "npv", "balanced_accuracy"])
def test_few_of_the_rarest_class_are_told(name):
    few = (np.arange(100) < 4).astype(np.int64)
    runs = [
        check_cases(few, run.y_prob[:100], classes=("a", "b"), positive="b", groups=range(100))
        for run in make_runs(np.random.default_rng(6))
    ]
    assert "4 of" in mean_over_seeds(name, runs, num_resamples=300).note


def test_two_seeds_give_the_interval_of_cases_alone_and_say_so():
    runs = make_runs(np.random.default_rng(2), count=2)
    found = mean_over_seeds("auroc", runs, num_resamples=300)
    assert "fewer than 3 trainings" in found.note
    assert found.method == "cases alone, t"
    assert found.degrees_of_freedom == min(runs[0].groups_among(runs[0].y_true == k) for k in (0, 1)) - 1


def test_what_is_perfect_has_no_limits():
    y_true = np.array([0, 1] * 20)
    prob = np.stack([1 - y_true, y_true], axis=1).astype(float)
    run = check_cases(y_true, prob, classes=("a", "b"), positive="b", groups=[str(k) for k in range(40)])
    found = mean_over_seeds("auroc", [run] * 3, num_resamples=200)
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert "end of its range" in found.note


def test_runs_of_other_images_are_refused():
    first, second = make_runs(np.random.default_rng(3), count=1), make_runs(np.random.default_rng(4), count=1)
    with pytest.raises(MetricError, match="must be scored on the same images"):
        mean_over_seeds("accuracy", [*first, *second])
    with pytest.raises(MetricError, match="at least one training"):
        mean_over_seeds("accuracy", [])


def test_folds_are_averaged_seed_by_seed_and_have_no_interval():
    folds = [mean_over_seeds("accuracy", make_runs(np.random.default_rng(seed)), num_resamples=200) for seed in (5, 6)]
    found = mean_over_folds(folds)
    by_seed = [(a + b) / 2 for a, b in zip(folds[0].values, folds[1].values, strict=True)]
    assert found.values == pytest.approx(by_seed)
    assert found.value == pytest.approx(np.mean(by_seed))
    assert found.low is None
    assert "share images" in found.note


@pytest.mark.parametrize("classes", [2, 3])
def test_an_estimate_by_name_is_that_of_the_evaluation(classes):
    rng = np.random.default_rng(7)
    (run,) = make_runs(rng, count=1, classes=classes)
    groups = [f"g{k // 2}" for k in range(120)]
    positive = "b" if classes == 2 else None
    whole = evaluate(run.y_true, run.y_prob, classes=run.classes, positive=positive, groups=groups, num_resamples=300)
    for name, estimate in whole.overall.items():
        if name != "ece":
            assert estimate_by_name(name, run, num_resamples=300) == estimate, name


def test_a_name_without_one_value_is_refused():
    (run,) = make_runs(np.random.default_rng(8), count=1, classes=3)
    assert statistic_of("auroc", run)[1] == ("macro_auroc", None)
    with pytest.raises(MetricError, match=r"Got 'aurok'\. Did you mean 'auroc'"):
        statistic_of("aurok", run)
