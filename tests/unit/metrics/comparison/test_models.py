"""Comparisons of models on the same cases: roads, families, margins and words."""

import numpy as np
import pytest
from scipy import special, stats

from chiron.core.errors import MetricError
from chiron.metrics.comparison.models import compare_models
from chiron.metrics.scores.average_precision import average_precision

CLASSES = ("well", "sick")
FAST = {"num_resamples": 400}


def two_columns(logit: np.ndarray) -> np.ndarray:
    prob = special.expit(logit)
    return np.stack([1 - prob, prob], axis=1)


@pytest.fixture
def models(random):
    """300 cases in 100 groups; `good` is better than `plain`, `same` is as good with other outputs."""
    y_true = random.integers(0, 2, 300)
    shared, side = random.normal(size=300), 2 * y_true - 1
    y_prob = {
        name: two_columns(strength * side + shared + 0.5 * random.normal(size=300))
        for name, strength in (("plain", 1.0), ("good", 2.0), ("same", 1.0))
    }
    return y_true, y_prob, np.repeat(np.arange(100), 3).tolist()


def compared(models, *metrics, names=("plain", "good"), groups=True, **options):
    y_true, y_prob, ids = models
    return compare_models(
        y_true,
        {name: y_prob[name] for name in names},
        classes=CLASSES,
        positive="sick",
        groups=ids if groups else None,
        metrics=metrics,
        **(FAST | options),
    )


def test_accuracy_is_mcnemar_without_groups(models):
    y_true, y_prob, _ = models
    (found,) = compared(models, "accuracy", groups=False, exact=True)
    right = [y_prob[name].argmax(axis=1) == y_true for name in ("plain", "good")]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert (found.only_first_right, found.only_second_right) == only
    assert found.finding.p_value == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue, abs=1e-9)
    assert found.finding.difference == pytest.approx(right[1].mean() - right[0].mean())
    assert found.finding.test == "McNemar, exact"
    assert "every image its own group" in found.finding.method


def test_sensitivity_and_specificity_are_of_their_own_rows(models):
    y_true, _, _ = models
    sensitivity, specificity = compared(models, "sensitivity", "specificity:sick")
    assert sensitivity.num_images == int((y_true == 1).sum())
    assert specificity.num_images == int((y_true == 0).sum())
    assert sensitivity.finding.test == "clustered McNemar, mid-p"


def test_better_is_said_with_the_least_difference(models):
    (found,) = compared(models, "auroc")
    assert found.finding.verdict == "better"
    assert found.finding.words.startswith(f"auroc: good is better than plain, by at least {found.finding.low:.4f} (p")
    assert found.finding.simultaneous is None
    (turned,) = compared(models, "auroc", reference="good")
    assert turned.finding.verdict == "worse"
    assert turned.finding.low == pytest.approx(-found.finding.high)
    assert turned.finding.p_value == pytest.approx(found.finding.p_value)


def test_less_is_better_for_a_loss(models):
    (found,) = compared(models, "log_loss")
    assert found.finding.difference < 0
    assert found.finding.verdict == "better"
    assert f"by at least {-found.finding.high:.4f}" in found.finding.words


def test_without_evidence_the_possible_differences_are_told(models):
    (found,) = compared(models, "auroc", names=("plain", "same"))
    assert found.finding.p_value > 0.05
    assert found.finding.words == (
        f"auroc: no evidence of a difference (differences from {found.finding.low:+.4f} to {found.finding.high:+.4f} "
        "remain possible)"
    )


# Without checks of shapes, which take longer than the 400 resamples.
@pytest.mark.usefixtures("unchecked")
def test_f1_is_no_share_of_the_same_rows(models):
    """The rows that F1 counts differ between models, so McNemar's test of one model's rows is not its test."""
    y_true, y_prob, ids = models
    (found,) = compared(models, "f1", names=("plain", "same"))
    assert found.finding.test == "paired cluster bootstrap's standard error, t"
    assert found.only_first_right is None
    called = [y_prob[name].argmax(axis=1) for name in ("plain", "same")]
    random, differences = np.random.default_rng(0), []
    rows = np.arange(300).reshape(100, 3)
    for _ in range(2000):
        drawn = rows[random.integers(100, size=100)].ravel()
        both = [2 * (y_true[drawn] & one[drawn]).sum() / (y_true[drawn] + one[drawn]).sum() for one in called]
        differences.append(both[1] - both[0])
    error = np.std(differences, ddof=1)
    smaller = min(len({ids[k] for k in np.flatnonzero(y_true == side)}) for side in (0, 1))
    expected = 2 * stats.t.sf(abs(found.finding.difference) / error, smaller - 1)
    assert found.finding.p_value == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("metric", ["mcc", "kappa", "balanced_accuracy"])
def test_numbers_of_all_classes_need_enough_of_the_rarest_one(models, metric):
    _, y_prob, _ = models
    few = (np.arange(300) < 8).astype(np.int64)
    (found,) = compared((few, y_prob, None), metric, groups=False)
    assert found.finding.verdict == "no verdict"
    assert "(8 of 20 needed, images of the rarest class)" in found.finding.note


def test_the_bootstraps_error_gives_the_p_value(models):
    """Against a plain loop over groups drawn anew."""
    y_true, y_prob, ids = models
    (found,) = compared(models, "average_precision", num_resamples=2000)
    random, groups = np.random.default_rng(3), np.array(ids)
    drawn = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in random.integers(0, 100, 100)])
        scores = [average_precision(y_true[rows], y_prob[name][rows, 1]) for name in ("plain", "good")]
        drawn.append(scores[1] - scores[0])
    expected = 2 * stats.t.sf(found.finding.difference / np.std(drawn, ddof=1), 99 - 0)
    assert np.log(found.finding.p_value) == pytest.approx(np.log(expected), rel=0.2)
    assert found.finding.method == "paired cluster bootstrap, BCa"
    assert found.finding.test == "paired cluster bootstrap's standard error, t"


def test_identical_predictions_are_told_as_such(models):
    y_true, y_prob, ids = models
    twins = (y_true, y_prob | {"twin": y_prob["plain"].copy()}, ids)
    for found in compared(twins, "auroc", "accuracy", "brier", names=("plain", "twin"), margin=0.01):
        assert (found.finding.difference, found.finding.p_value, found.finding.verdict) == (
            0.0,
            1.0,
            "identical predictions",
        )
        assert found.finding.low is None
        assert found.finding.margin.equivalent


def test_a_number_equal_in_every_case_has_p_one_and_no_verdict(models):
    y_true, y_prob, ids = models
    logit = special.logit(y_prob["plain"][:, 1])
    scaled = (y_true, y_prob | {"sharper": two_columns(2 * logit)}, ids)
    auroc, brier = compared(scaled, "auroc", "brier", names=("plain", "sharper"))
    assert auroc.finding.difference == pytest.approx(0, abs=1e-12)
    assert auroc.finding.p_value == 1.0
    assert auroc.finding.verdict == "no verdict"
    assert brier.finding.p_value < 1


def test_several_comparisons_are_one_family(models):
    alone = [compared(models, "auroc", names=("plain", other))[0].finding for other in ("good", "same")]
    family = [found.finding for found in compared(models, "auroc", names=("plain", "good", "same"))]
    raw = [finding.p_value for finding in family]
    assert raw == [finding.p_value for finding in alone]
    assert family[0].adjusted_p == pytest.approx(2 * raw[0])
    assert family[1].adjusted_p == pytest.approx(max(raw[1], 2 * raw[0]))
    for one, together in zip(alone, family, strict=True):
        assert (together.low, together.high) == (one.low, one.high)
        assert together.simultaneous[0] < one.low < one.high < together.simultaneous[1]


def test_a_margin_is_judged_by_the_inner_and_the_outer_interval(models):
    (found,) = compared(models, "auroc", names=("plain", "same"))
    half = (found.finding.high - found.finding.low) / 2
    reach = max(abs(found.finding.low), abs(found.finding.high))
    (wide,) = compared(models, "auroc", names=("plain", "same"), margin=reach + 1e-6)
    assert wide.finding.margin.equivalent
    assert wide.finding.margin.not_inferior
    inner = wide.finding.margin.equivalence_interval
    assert found.finding.low < inner[0] < inner[1] < found.finding.high
    (narrow,) = compared(models, "auroc", names=("plain", "same"), margin=half / 4)
    assert not narrow.finding.margin.equivalent
    assert "not shown to be equivalent" in narrow.finding.margin.words
    with pytest.raises(MetricError, match="above 0"):
        compared(models, "auroc", margin=0.0)


def test_too_few_cases_have_no_verdict(models):
    y_true, y_prob, ids = models
    rows = np.concatenate([np.flatnonzero(y_true == 1)[:6], np.flatnonzero(y_true == 0)[:60]])
    few = (y_true[rows], {name: prob[rows] for name, prob in y_prob.items()}, [ids[k] for k in rows])
    (found,) = compared(few, "auroc")
    assert found.finding.verdict == "no verdict"
    assert "of 10 needed" in found.finding.words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("ece", "Compare log_loss or brier"),
        ("accurary", "accuracy"),
        ("auroc:sik", "The class must be one of well, sick"),
    ],
)
def test_wrong_numbers_are_refused(models, metric, words):
    with pytest.raises(MetricError, match=words):
        compared(models, metric)


def test_more_classes_name_one_or_take_a_mean(random):
    y_true = np.repeat([0, 1, 2], 40)
    y_prob = {name: random.dirichlet([1, 1, 1], 120) for name in "ab"}
    settings = {"classes": ("x", "y", "z"), "positive": None, "groups": None, **FAST}
    macro, one = compare_models(y_true, y_prob, metrics=["macro_auroc", "auroc:z"], **settings)
    assert macro.finding.test.startswith("paired bootstrap")
    assert one.finding.test == "paired DeLong, t"
    with pytest.raises(MetricError, match="Write auroc:x"):
        compare_models(y_true, y_prob, metrics=["auroc"], **settings)
    with pytest.raises(MetricError, match="reference must be one of a, b"):
        compare_models(y_true, y_prob, metrics=["macro_auroc"], reference="c", **settings)
    with pytest.raises(MetricError, match="at least two models"):
        compare_models(y_true, {"a": y_prob["a"]}, metrics=["macro_auroc"], **settings)


def test_the_order_of_the_rows_changes_nothing(models, random):
    y_true, y_prob, ids = models
    order = random.permutation(300)
    shuffled = (y_true[order], {name: prob[order] for name, prob in y_prob.items()}, [ids[k] for k in order])
    for one, other in zip(
        compared(models, "auroc", "accuracy", "brier"), compared(shuffled, "auroc", "accuracy", "brier"), strict=True
    ):
        assert one.finding.p_value == pytest.approx(other.finding.p_value)
        assert one.finding.low == pytest.approx(other.finding.low)


def likelihood_ratio(y_true, prob):
    called = prob[:, 1] > prob[:, 0]
    return called[y_true == 1].mean() / called[y_true == 0].mean()


def test_likelihood_ratios_are_compared_by_their_ratio(models):
    """The limits are of the log of one over the other: against the delta method of single cases, by hand."""
    y_true, y_prob, _ = models
    ratios = {name: likelihood_ratio(y_true, y_prob[name]) for name in ("plain", "same")}
    how = {"groups": False, "num_resamples": 2000}
    (found,) = compared(models, "positive_likelihood_ratio", names=("plain", "same"), **how)
    finding = found.finding
    assert finding.scale == "log"
    assert [finding.first_value, finding.second_value] == pytest.approx(list(ratios.values()))
    assert finding.difference == pytest.approx(np.log(ratios["same"] / ratios["plain"]))
    parts = np.zeros(300)
    for sign, name in ((-1, "plain"), (1, "same")):
        called = (y_prob[name][:, 1] > y_prob[name][:, 0]).astype(float)
        for side, of_side in ((1, y_true == 1), (-1, y_true == 0)):
            share = called[of_side].mean()
            parts += np.where(of_side, sign * side * (called - share) / (share * of_side.sum()), 0)
    half = stats.norm.ppf(0.975) * np.sqrt((parts**2).sum())
    assert finding.low == pytest.approx(finding.difference - half, abs=0.15 * half)
    assert finding.high == pytest.approx(finding.difference + half, abs=0.15 * half)
    assert finding.test == "paired bootstrap's standard error, log scale, t"
    better = compared(models, "positive_likelihood_ratio", **how)[0].finding
    assert better.words.startswith(
        f"positive_likelihood_ratio: good is better than plain, by at least a factor of {np.exp(better.low):.3f} (p"
    )


def test_less_of_a_negative_likelihood_ratio_is_better(models):
    (found,) = compared(models, "negative_likelihood_ratio")
    assert found.finding.difference < 0
    assert found.finding.verdict == "better"
    (same,) = compared(models, "negative_likelihood_ratio", names=("plain", "same"))
    assert same.finding.words.endswith(
        f"(ratios from {np.exp(same.finding.low):.3f} to {np.exp(same.finding.high):.3f} remain possible)"
    )


def test_a_ratio_has_no_margin(models):
    with pytest.raises(MetricError, match="Got positive_likelihood_ratio, which is compared as a ratio"):
        compared(models, "positive_likelihood_ratio", margin=0.1)


def test_a_ratio_of_zero_is_no_number_to_compare_by(models):
    """Without a miss LR- is 0, and no ratio to it has a limit."""
    y_true, y_prob, ids = models
    never = (y_true, y_prob | {"never": two_columns(np.where(y_true == 1, 3.0, y_prob["plain"][:, 1] * 4 - 2))}, ids)
    (found,) = compared(never, "negative_likelihood_ratio", names=("plain", "never"))
    assert found.finding.second_value == 0
    assert (found.finding.difference, found.finding.p_value) == (None, None)
    assert "undefined, or 0, for a model" in found.finding.words


def test_a_pair_that_cannot_be_tested_counts_in_the_family(models):
    """One of two: p twice as large, and the interval at 1 - alpha / 2, so that both say the same."""
    y_true, y_prob, ids = models
    never = (y_true, y_prob | {"never": two_columns(np.full(300, -9.0))}, ids)
    alone = compared(models, "positive_likelihood_ratio")[0].finding
    one, other = (
        found.finding for found in compared(never, "positive_likelihood_ratio", names=("plain", "good", "never"))
    )
    assert other.p_value is None
    assert one.p_value == alone.p_value
    assert one.adjusted_p == pytest.approx(2 * alone.p_value)
    wider = compared(models, "positive_likelihood_ratio", confidence=0.975)[0].finding
    assert one.simultaneous == pytest.approx([wider.low, wider.high])
