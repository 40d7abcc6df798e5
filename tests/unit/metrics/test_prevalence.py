"""Predictive values at a stated prevalence: Bayes' rule, the published logit intervals, ends, clusters, refusals."""

import numpy as np
import pytest
from scipy import special, stats

from chiron.core.errors import MetricError
from chiron.metrics.prevalence import CARRIED_OVER, predictive_values_at


def cases(tp, fn, fp, tn):
    """Scores 1 and 0 that give this table at a threshold of 0.5."""
    positive = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    return np.repeat([1.0, 0.0, 1.0, 0.0], [tp, fn, fp, tn]), positive


def values(table, prevalence, groups=None, **options):
    (found,) = predictive_values_at(*cases(*table), groups, threshold=0.5, prevalences=[prevalence], **options)
    return found


@pytest.mark.parametrize("prevalence", [0.001, 0.03, 0.5, 0.9])
def test_values_and_limits_equal_mercaldos_formulas(prevalence):
    tp, fn, fp, tn = 90, 10, 24, 176
    found = values((tp, fn, fp, tn), prevalence)
    se, sp, num_positive, num_negative = 0.9, 0.88, 100, 200
    ppv = prevalence * se / (prevalence * se + (1 - prevalence) * (1 - sp))
    npv = (1 - prevalence) * sp / ((1 - prevalence) * sp + prevalence * (1 - se))
    assert (found.ppv.value, found.npv.value) == pytest.approx((ppv, npv), abs=1e-12)
    z = stats.norm.ppf(0.975)
    of_ppv = (1 - se) / se / num_positive + sp / (1 - sp) / num_negative
    of_npv = se / (1 - se) / num_positive + (1 - sp) / sp / num_negative
    for estimate, value, variance in ((found.ppv, ppv, of_ppv), (found.npv, npv, of_npv)):
        expected = special.expit(special.logit(value) + np.array([-1, 1]) * z * np.sqrt(variance))
        assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), abs=1e-9)
        assert CARRIED_OVER in estimate.note
        assert estimate.method.startswith("logit, from the likelihood ratio")


def test_at_the_prevalence_of_the_data_they_are_the_shares_of_right_outputs():
    found = values((30, 10, 20, 60), 40 / 120)
    assert found.ppv.value == pytest.approx(30 / 50, abs=1e-12)
    assert found.npv.value == pytest.approx(60 / 70, abs=1e-12)


def test_without_errors_there_is_still_a_width():
    found = values((40, 0, 0, 60), 0.1)
    assert (found.ppv.value, found.ppv.high) == (1, 1)
    assert (found.npv.value, found.npv.high) == (1, 1)
    assert 0.5 < found.ppv.low < 0.99
    assert 0.9 < found.npv.low < 1


def test_outputs_of_one_kind_leave_the_other_undefined():
    found = values((0, 20, 0, 30), 0.2)
    assert (found.ppv.value, found.ppv.low) == (None, None)
    assert "no case has a positive output" in found.ppv.note
    assert found.npv.value == pytest.approx(0.8)


def test_groups_widen_them():
    table = (60, 20, 20, 100)
    groups = np.arange(200) // 4
    alone, together = values(table, 0.2), values(table, 0.2, groups.tolist())
    assert together.ppv.high - together.ppv.low > 1.5 * (alone.ppv.high - alone.ppv.low)
    assert together.ppv.num_groups == 50
    assert alone.ppv.method.endswith("every case its own group")


def test_few_cases_are_told():
    assert "too few cases for a reliable interval (5 of 10 needed" in values((4, 1, 10, 40), 0.2).ppv.note


@pytest.mark.parametrize(
    ("table", "prevalence", "message"),
    [
        ((10, 10, 0, 0), 0.1, "positive and negative cases. Got 20 positive of 20"),
        ((10, 10, 10, 10), 0.0, "between 0 and 1. Got 0.0. Give a share"),
    ],
)
def test_refusals(table, prevalence, message):
    with pytest.raises(MetricError, match=message):
        values(table, prevalence)
