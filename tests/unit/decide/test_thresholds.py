"""Thresholds: places in the order of scores, promises kept in simulation, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_curve

from chiron.core.errors import DecisionError
from chiron.decide.thresholds import fit_threshold, positives_needed

ASKED = {"question": "malignant", "classes": ["mel", "bcc"], "sensitivity": 0.95, "fitted_on": "cal"}
ONE_IN_TWENTY = np.arange(1, 201) / 1000  # positives' scores, lowest first


def fitted(scores, rule, *, groups=None, sensitivity=0.95):
    positive = np.ones(len(scores), dtype=bool)
    return fit_threshold(scores, positive, groups, rule=rule, **(ASKED | {"sensitivity": sensitivity}))


@pytest.mark.parametrize(
    ("rule", "count", "missed"),
    [
        ("point", 20, 1),
        ("point", 200, 10),
        ("expected", 19, 0),
        ("expected", 39, 1),
        ("expected", 200, 9),
        ("guaranteed", 59, 0),
        ("guaranteed", 92, 0),
        ("guaranteed", 93, 1),
        ("guaranteed", 200, 4),
    ],
)
def test_the_place_of_each_rule(rule, count, missed):
    found = fitted(ONE_IN_TWENTY[:count], rule)
    assert (found.num_found, found.num_positive, found.num_groups) == (count - missed, count, count)
    assert found.value == ONE_IN_TWENTY[missed]


@pytest.mark.parametrize("sensitivity", [0.8, 0.9, 0.95, 0.99])
def test_guaranteed_is_the_exact_binomial_bound(sensitivity):
    for count in (20, 60, 130, 500):
        bounds = [stats.beta.ppf(0.05, count - j, j + 1) for j in range(count)]  # Clopper-Pearson, j missed
        may_miss = sum(bound >= sensitivity for bound in bounds) - 1
        scores = np.arange(count, dtype=float)
        if may_miss < 0:
            assert count < positives_needed(sensitivity, "guaranteed")
            with pytest.raises(DecisionError):
                fitted(scores, "guaranteed", sensitivity=sensitivity)
        else:
            assert fitted(scores, "guaranteed", sensitivity=sensitivity).value == may_miss


def test_youden_is_the_highest_point_over_the_diagonal(random):
    for _ in range(20):
        positive = random.random(80) < 0.4
        score = (random.normal(size=80) + positive).round(1)
        found = fit_threshold(score, positive, None, rule="youden", **ASKED)
        fpr, tpr, thresholds = roc_curve(positive, score, drop_intermediate=False)
        best = (tpr - fpr).max()
        assert (score[positive] >= found.value).mean() - (score[~positive] >= found.value).mean() == pytest.approx(best)
        assert found.value == min(thresholds[np.isclose(tpr - fpr, best)])
        assert (found.sensitivity, found.low, found.high) == (None, None, None)


@given(seed=st.integers(0, 1000), rule=st.sampled_from(["point", "expected", "guaranteed"]))
def test_found_holds_what_is_asked_and_equal_scores_are_found_together(seed, rule):
    random = np.random.default_rng(seed)
    score, positive = random.integers(0, 12, 300) / 12, random.random(300) < 0.5
    found = fit_threshold(score, positive, None, rule=rule, **ASKED)
    assert found.num_found == (score[positive] >= found.value).sum() >= 0.95 * found.num_positive
    order = random.permutation(300)
    assert found == fit_threshold(score[order], positive[order], None, rule=rule, **ASKED)


def test_promises_of_the_three_rules(random):
    # A10, exactly: the share of positives below the chosen place is Beta distributed whatever the scores are.
    def sensitivities(rule, count):
        return np.array([1 - fitted(random.random(count), rule).value for _ in range(500)])

    point, expected, guaranteed = (sensitivities(*it) for it in (("point", 20), ("expected", 60), ("guaranteed", 59)))
    assert point.mean() == pytest.approx(19 / 21, abs=0.009)
    assert np.mean(point < 0.9) == pytest.approx(stats.beta.cdf(0.9, 19, 2), abs=0.065)
    assert expected.mean() == pytest.approx(58 / 61, abs=0.005)
    assert expected.mean() > 0.95 - 0.004
    assert np.mean(guaranteed < 0.95) == pytest.approx(0.95**59, abs=0.03)


def grouped_scores(random, num_groups, sizes=(1, 2, 6), tie=0.9):
    """Uniform scores of positives, alike within a group."""
    counts = random.choice(sizes, num_groups)
    groups = np.repeat(np.arange(num_groups), counts)
    both = np.sqrt(tie) * random.normal(size=num_groups)[groups] + np.sqrt(1 - tie) * random.normal(size=len(groups))
    return stats.norm.cdf(both), groups.tolist()


def test_promises_hold_where_positives_come_in_groups(random):
    expected = [1 - fitted(*rows[:1], "expected", groups=rows[1]).value
                for rows in (grouped_scores(random, 60) for _ in range(800))]  # fmt: skip
    assert np.mean(expected) > 0.95 - 3 * np.std(expected) / np.sqrt(800)
    assert np.mean(expected) < 0.975
    guaranteed = [1 - fitted(*rows[:1], "guaranteed", groups=rows[1]).value
                  for rows in (grouped_scores(random, 80) for _ in range(400))]  # fmt: skip
    assert np.mean(np.array(guaranteed) < 0.95) < 0.05
    # Counting cases as if they were alone breaks the promise.
    naive = [1 - fitted(grouped_scores(random, 80)[0], "guaranteed").value for _ in range(400)]
    assert np.mean(np.array(naive) < 0.95) > 0.12


def test_the_interval_holds_the_score_that_is_aimed_at(random):
    covered, narrow = [], []
    for _ in range(400):
        alone = fitted(random.random(200), "expected")
        covered.append(alone.low <= 10 / 201 <= alone.high)
        assert alone.low <= alone.value <= alone.high
        rows = grouped_scores(random, 200)
        tied = fitted(rows[0], "point", groups=rows[1])
        narrow.append((tied.low or 0) <= 0.05 <= tied.high)
    assert np.mean(covered) > 0.93
    assert np.mean(narrow) > 0.92
    assert fitted(ONE_IN_TWENTY[:59], "guaranteed").low is None  # nothing lies below the lowest


def test_too_few_positives_are_refused_with_the_number_needed():
    assert [positives_needed(s, "guaranteed") for s in (0.8, 0.9, 0.95, 0.99)] == [14, 29, 59, 299]
    assert [positives_needed(s, "expected") for s in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]
    message = (
        r"guaranteed at sensitivity 0.95 needs at least 59 groups with a positive case. Got 58 for the question "
        r"'malignant'. Add cases"
    )
    with pytest.raises(DecisionError, match=message):
        fitted(ONE_IN_TWENTY[:58], "guaranteed")
    with pytest.raises(DecisionError, match="Got 30 groups with 60 positives"):
        fitted(ONE_IN_TWENTY[:60], "guaranteed", groups=np.repeat(np.arange(30), 2).tolist())
    with pytest.raises(DecisionError, match=r"of about equal size. Got 21 groups with 40 positives"):
        fitted(ONE_IN_TWENTY[:40], "expected", groups=np.minimum(np.arange(40), 20).tolist())
    with pytest.raises(DecisionError, match="youden needs cases on both sides"):
        fitted(ONE_IN_TWENTY, "youden")
    with pytest.raises(DecisionError, match="point needs at least 10 groups"):
        fitted(ONE_IN_TWENTY[:9], "point")
