"""Risk-coverage curve and referral table."""

import numpy as np
import pytest

from chiron.core.errors import MetricError
from chiron.metrics.abstention import distance_from_threshold, referral_table, risk_coverage
from chiron.metrics.means import mean_estimate, rows_of


def naive_area(confidence, wrong) -> float:
    """The mean over cases of the error among all that are as sure or surer."""
    return float(np.mean([wrong[confidence >= limit].mean() for limit in confidence]))


def test_the_area_is_what_a_loop_gives_also_with_equal_confidences(random):
    for _ in range(10):
        confidence, wrong = random.integers(0, 15, 60) / 15, random.random(60) < 0.3
        found = risk_coverage(confidence, wrong, rows_of(None, 60, num_resamples=100))
        assert found.area.value == pytest.approx(naive_area(confidence, wrong), rel=1e-12)
        assert found.coverage[-1] == 1.0
        assert found.risk[-1] == pytest.approx(wrong.mean())
        levels = np.unique(confidence)[::-1]
        np.testing.assert_allclose(found.risk, [wrong[confidence >= level].mean() for level in levels])
        np.testing.assert_allclose(found.coverage, [(confidence >= level).mean() for level in levels])


def test_a_resample_is_the_area_of_the_repeated_rows(random):
    confidence, wrong = random.integers(0, 9, 30) / 9, random.random(30) < 0.4
    groups = np.repeat(np.arange(10), 3)
    rows = rows_of(groups.tolist(), 30)
    areas = []

    def resampled(statistic, rows):
        for _ in range(20):
            weights = random.multinomial(10, np.full(10, 0.1))[:, np.newaxis]
            again = np.repeat(np.arange(30), weights[groups, 0])
            areas.append((statistic(weights)[0], naive_area(confidence[again], wrong[again])))
        return mean_estimate(wrong.astype(np.float64), rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chiron.metrics.abstention.resampled_estimate", resampled)
        risk_coverage(confidence, wrong, rows)
    np.testing.assert_allclose(*np.transpose(areas), rtol=1e-12)


def test_order_of_confidence_is_worth_something_and_has_an_interval(random):
    wrong = random.random(400) < 0.2
    useful = risk_coverage(random.random(400) - wrong, wrong, rows_of(None, 400)).area
    useless = risk_coverage(random.random(400), wrong, rows_of(None, 400)).area
    assert useful.low < useful.value < useful.high < useless.low < 0.2 < useless.high


def test_referring_the_least_sure(random):
    confidence = np.arange(100) / 100
    wrong = np.arange(100) < 20  # the least sure are the wrong ones
    positive = np.arange(100) % 2 == 0
    table = referral_table(confidence, wrong, rows_of(None, 100), positive=positive, shares=(0.0, 0.1, 0.2, 0.99))
    assert [row.num_referred for row in table] == [0, 10, 20, 99]
    assert [row.error.value for row in table] == pytest.approx([0.2, 10 / 90, 0, 0])
    assert [row.error.num_images for row in table] == [100, 90, 80, 1]
    assert table[0].sensitivity.value == table[0].specificity.value == 0.8
    assert table[1].sensitivity.value == pytest.approx(40 / 45)
    assert table[1].least_confidence == 0.1
    assert table[3].sensitivity.value is None  # only a negative case is left
    assert referral_table(confidence, wrong, rows_of(None, 100))[0].sensitivity is None


def test_equal_confidences_stay_together():
    confidence = np.array([0.5] * 4 + [0.9] * 6)
    table = referral_table(confidence, np.zeros(10, dtype=bool), rows_of(None, 10), shares=(0.2, 0.4, 0.5, 1.0))
    assert [row.num_referred for row in table] == [0, 4, 4, 4]


def test_distance_is_in_log_odds():
    found = distance_from_threshold(np.array([0.05, 0.5, 0.0, 1.0]), 0.05)
    assert found[:2] == pytest.approx([0, np.log(19)])
    assert np.isfinite(found).all()


def test_what_cannot_be_ordered_is_told():
    with pytest.raises(MetricError, match="finite confidence of every case"):
        risk_coverage(np.array([np.nan]), np.array([True]), rows_of(None, 1))
