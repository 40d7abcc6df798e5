"""Calibration in the large, intercept and slope."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special, stats

from chiron.core.errors import MetricError
from chiron.metrics.calibration_fit import calibration_fit


def two_classes(random, num_groups: int, *, intercept=0.0, slope=1.0, per_group=3):
    """Groups whose cases lie together, outcomes by P(y) = expit(intercept + slope * logit p)."""
    groups = np.repeat(np.arange(num_groups), per_group)
    odds = random.normal(size=num_groups)[groups] + random.normal(size=len(groups)) - 1
    y_true = (random.random(len(groups)) < special.expit(intercept + slope * odds)).astype(np.int64)
    prob = special.expit(odds)
    return y_true, np.stack([1 - prob, prob], axis=1), groups.tolist()


def fit(y_true, y_prob, groups):
    return calibration_fit(y_true, y_prob, classes=("well", "sick"), positive="sick", groups=groups)["sick"]


def test_it_is_what_statsmodels_gives(random):
    y_true, y_prob, groups = two_classes(random, 80, intercept=0.5, slope=0.7)
    found = fit(y_true, y_prob, groups)
    odds = special.logit(y_prob[:, 1])
    how = {"cov_type": "cluster", "cov_kwds": {"groups": np.array(groups), "use_correction": False}}
    family = sm.families.Binomial()
    references = {
        "intercept": sm.GLM(y_true, np.ones(len(odds)), offset=odds, family=family).fit(tol=1e-13, **how),
        "slope": sm.GLM(y_true, sm.add_constant(odds), family=family).fit(tol=1e-13, **how),
        "in_the_large": sm.OLS(y_true - y_prob[:, 1], np.ones(len(odds))).fit(**how),
    }
    for name, reference in references.items():
        estimate = getattr(found, name)
        half = stats.t.ppf(0.975, 79) * reference.bse[-1] * np.sqrt(80 / 79)
        assert estimate.value == pytest.approx(reference.params[-1], rel=1e-9), name
        assert estimate.high - estimate.value == pytest.approx(half, rel=1e-9), name
        assert estimate.value - estimate.low == pytest.approx(half, rel=1e-9), name
        assert (estimate.num_images, estimate.num_groups, estimate.note) == (240, 80, None)


def test_intervals_cover_what_is_true(random):
    truth = {"in_the_large": 0.0, "intercept": 0.0, "slope": 1.0}
    covered = dict.fromkeys(truth, 0)
    for _ in range(120):
        found = fit(*two_classes(random, 100))
        for name, value in truth.items():
            covered[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert min(covered.values()) > 120 * 0.89


def test_signs_say_too_bold_and_too_low(random):
    found = fit(*two_classes(random, 2000, intercept=1.0, slope=0.5))
    assert found.slope.high < 1
    assert found.slope.value == pytest.approx(0.5, abs=0.1)
    assert found.intercept.low > 0
    assert found.in_the_large.low > 0


def test_each_class_against_the_rest(random):
    y_prob = special.softmax(random.normal(size=(600, 3)), axis=1)
    y_true = (y_prob.cumsum(axis=1) < random.random((600, 1))).sum(axis=1)
    found = calibration_fit(y_true, y_prob, classes=("a", "b", "c"), positive=None, groups=None)
    assert list(found) == ["a", "b", "c"]
    for k, name in enumerate(found):
        rest = np.stack([1 - y_prob[:, k], y_prob[:, k]], axis=1)
        alone = fit((y_true == k).astype(np.int64), rest, None)
        assert found[name].slope.value == pytest.approx(alone.slope.value, rel=1e-9)
        assert found[name].intercept.low == pytest.approx(alone.intercept.low, rel=1e-9)
        assert "every image its own group" in found[name].slope.method


def test_several_labels_use_assessed_images(random):
    y_prob = special.expit(random.normal(size=(400, 2)))
    y_true = (random.random((400, 2)) < y_prob).astype(np.float64)
    y_true[:150, 1] = np.nan
    found = calibration_fit(y_true, y_prob, classes=("edema", "mass"), positive=None, groups=None)
    assert found["mass"].slope.num_images == 250
    alone = fit(y_true[150:, 1].astype(np.int64), np.stack([1 - y_prob[150:, 1], y_prob[150:, 1]], axis=1), None)
    assert found["mass"].slope.value == pytest.approx(alone.slope.value, rel=1e-9)


def test_what_is_not_defined_says_why(random):
    y_true, y_prob, groups = two_classes(random, 40)
    separated = np.where(y_true == 1, 0.8, 0.2)
    found = fit(y_true, np.stack([1 - separated, separated], axis=1), groups)
    assert (found.slope.value, found.slope.note) == (None, "probabilities separate the cases perfectly")
    assert found.intercept.value is not None
    flat = fit(y_true, np.full((120, 2), 0.5), groups)
    assert (flat.slope.value, flat.slope.note) == (None, "every probability is the same")
    assert flat.intercept.value == pytest.approx(special.logit(y_true.mean()))
    absent = fit(np.zeros(120, dtype=np.int64), y_prob, groups)
    assert absent.slope.note == absent.in_the_large.note == "class 'sick' has no image here"
    one = fit(y_true, y_prob, ["p"] * 120)
    assert one.slope.note == "all images come from one group"
    few = fit(y_true[:30], y_prob[:30], groups[:30])
    assert "too few cases for a reliable interval" in few.intercept.note
    sure = fit(y_true, np.stack([1 - y_true, y_true], axis=1).astype(float), groups)
    assert sure.slope.value is None
    with pytest.raises(MetricError, match="the positive class among them"):
        calibration_fit(y_true, y_prob, classes=("a", "b"), positive="c", groups=None)
