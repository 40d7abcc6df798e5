"""Bins with their edges, calibration error, its bias correction, and the consistency band."""

import numpy as np
import pytest
from scipy import stats

from chiron.metrics import calibration
from chiron.metrics.calibration import (
    bias_corrected_calibration_error,
    calibration_bins,
    consistency_band,
    expected_calibration_error,
)


def test_bins_hold_their_lower_edge_and_the_last_one_holds_exactly_one():
    confidence = np.array([0.0, 0.1, 0.3, 0.6, 0.7, np.nextafter(0.7, 0), 0.9, 1.0, 1.0])
    bins = calibration_bins(confidence, np.ones(9, dtype=bool))
    assert bins.count.tolist() == [1, 1, 0, 1, 0, 0, 2, 1, 0, 3]
    assert bins.confidence[9] == pytest.approx((0.9 + 1 + 1) / 3)
    assert np.isnan(bins.accuracy[2])


def test_error_equals_a_naive_loop():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(500), rng.random(500) < 0.6
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert expected_calibration_error(calibration_bins(confidence, right)) == pytest.approx(expected, abs=1e-12)


def test_bias_correction_equals_drawing_the_accuracies_anew():
    """Kumar's definition by simulation: the error less (mean error around the observed accuracies - the error)."""
    rng = np.random.default_rng(1)
    confidence, right = rng.uniform(0.5, 1, 300), rng.random(300) < 0.7
    bins = calibration_bins(confidence, right)
    filled = bins.count > 0
    count, accuracy = bins.count[filled], bins.accuracy[filled]
    drawn = rng.normal(accuracy, np.sqrt(accuracy * (1 - accuracy) / count), size=(200_000, filled.sum()))
    mean_error = np.average(np.abs(drawn - bins.confidence[filled]), axis=1, weights=count).mean()
    expected = 2 * expected_calibration_error(bins) - mean_error
    assert bias_corrected_calibration_error(bins) == pytest.approx(expected, abs=3e-4)


def simulated_errors(shift, num_images, sets=300):
    rng = np.random.default_rng(2)
    plain, corrected = [], []
    for _ in range(sets):
        confidence = rng.uniform(0.55, 0.9, num_images)
        bins = calibration_bins(confidence, rng.random(num_images) < confidence - shift)
        plain.append(expected_calibration_error(bins))
        corrected.append(bias_corrected_calibration_error(bins))
    return np.mean(plain), np.mean(corrected)


def test_bias_correction_brings_the_mean_nearer_to_the_truth():
    plain, corrected = simulated_errors(0.0, 300)
    assert corrected < 0.7 * plain  # the truth is 0
    plain, corrected = simulated_errors(0.02, 300)
    assert abs(corrected - 0.02) < 0.5 * abs(plain - 0.02)


def test_perfect_confidence_has_no_error():
    bins = calibration_bins(np.ones(5), np.ones(5, dtype=bool))
    assert expected_calibration_error(bins) == 0
    assert bias_corrected_calibration_error(bins) == 0


def test_bin_bands_are_the_quantiles_of_a_binomial_and_do_not_depend_on_blocks_or_row_order(monkeypatch):
    confidence = np.repeat([0.65, 0.85], [40, 100])
    band = consistency_band(confidence, num_simulations=20_000, seed=0)
    expected = stats.binom.ppf([0.05, 0.95], 40, 0.65) / 40
    assert [band.accuracy_low[6], band.accuracy_high[6]] == pytest.approx(expected)
    assert np.isnan(band.accuracy_low[0])
    monkeypatch.setattr(calibration, "_CELLS", 1000)
    again = consistency_band(confidence[::-1], num_simulations=20_000, seed=0)
    assert (again.ece_low, again.ece_high) == (band.ece_low, band.ece_high)


def test_a_calibrated_model_exceeds_the_band_in_five_percent_of_sets():
    rng = np.random.default_rng(3)
    above, sets = 0, 400
    for _ in range(sets):
        confidence = rng.uniform(0.5, 1, 150)
        bins = calibration_bins(confidence, rng.random(150) < confidence)
        band = consistency_band(confidence, num_simulations=300, seed=int(rng.integers(2**31)))
        above += expected_calibration_error(bins) > band.ece_high
    assert abs(above / sets - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / sets)
