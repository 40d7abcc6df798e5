"""The difference of a metric between two sets of groups."""

import numpy as np
import pytest

from chiron.core.errors import MetricError
from chiron.metrics.cases import check_cases
from chiron.metrics.difference import difference_of
from chiron.metrics.metric import registered_metrics

LOSS, ACCURACY = registered_metrics()["log_loss"], registered_metrics()["accuracy"]


def cases(random, count: int, sharpness: float, *, per_group: int = 1):
    """Groups of `per_group` equal rows."""
    y_true = np.repeat(random.integers(0, 2, count), per_group)
    logit = np.repeat(random.normal(size=count), per_group) + sharpness * (2 * y_true - 1)
    y_prob = np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)
    groups = np.repeat(np.arange(count), per_group).tolist()
    return check_cases(y_true, y_prob, classes=("a", "b"), positive="b", groups=groups)


def test_it_is_second_minus_first_with_the_spread_of_both(random):
    first, second = cases(random, 400, 2.0), cases(random, 300, 0.5)
    found = difference_of(LOSS, first, second)
    losses = [LOSS.compute(part) for part in (first, second)]
    assert found.value == pytest.approx(losses[1].mean() - losses[0].mean())
    assert found.value > 0  # the second set is told apart worse
    error = np.sqrt(sum(part.var() / len(part) for part in losses))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.value < found.high
    swapped = difference_of(LOSS, second, first)
    assert swapped.value == pytest.approx(-found.value)
    assert swapped.low == pytest.approx(-found.high, abs=0.2 * error)


def test_rows_of_a_group_count_as_one(random):
    seed = random.integers(2**31)
    one, four = ([cases(np.random.default_rng([seed, k]), 80, 1.0, per_group=n) for k in (0, 1)] for n in (1, 4))
    widths = [found.high - found.low for found in (difference_of(ACCURACY, *one), difference_of(ACCURACY, *four))]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_no_spread_is_no_interval(random):
    y_prob = np.tile([[0.9, 0.1]], (6, 1))
    sure = check_cases(np.zeros(6, dtype=np.int64), y_prob, classes=("a", "b"), positive="b", groups=list("abcdef"))
    found = difference_of(LOSS, sure, sure)
    assert (found.value, found.low, found.high) == (0.0, None, None)
    assert "every resample gives the same value" in found.note
    assert "too few cases" in found.note


def test_only_means_over_rows_are_taken(random):
    some = cases(random, 20, 1.0)
    with pytest.raises(MetricError, match=r"a mean over rows\. Got f1"):
        difference_of(registered_metrics()["f1"], some, some)
