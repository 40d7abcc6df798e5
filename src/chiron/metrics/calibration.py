"""Reliability of the predicted class's confidence: bins, calibration error, and what chance alone would show."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr

NUM_BINS = 10
BAND = (0.05, 0.95)
_CELLS = 4_000_000  # uniform numbers drawn at once


@dataclass(frozen=True)
class CalibrationBins:
    """Equal-width bins [low, high) of the confidence, the last one with 1.0 itself. Empty bins hold NaN."""

    count: Int[np.ndarray, "bins"]
    confidence: Float[np.ndarray, "bins"]
    accuracy: Float[np.ndarray, "bins"]


@dataclass(frozen=True)
class ConsistencyBand:
    """The 5-95 % range that a perfectly calibrated model with these confidences would show at this number of images."""

    ece_low: float
    ece_high: float
    accuracy_low: Float[np.ndarray, "bins"]
    accuracy_high: Float[np.ndarray, "bins"]


def bin_edges() -> Float[np.ndarray, "edges"]:
    """The limits of the bins, from 0 to 1."""
    return np.arange(NUM_BINS + 1) / NUM_BINS


def calibration_bins(confidence: Float[np.ndarray, "n"], right: Bool[np.ndarray, "n"]) -> CalibrationBins:
    """Number of images, mean confidence and accuracy of each bin.

    Args:
        confidence: probability of the predicted class.
        right: whether the predicted class is the reference class.
    """
    index = _bin_index(confidence)
    count = np.bincount(index, minlength=NUM_BINS)
    return CalibrationBins(
        count=count,
        confidence=_share(np.bincount(index, weights=confidence, minlength=NUM_BINS), count),
        accuracy=_share(np.bincount(index, weights=right, minlength=NUM_BINS), count),
    )


def expected_calibration_error(bins: CalibrationBins) -> float:
    """Plug-in mean gap between confidence and accuracy, weighted by images (0 is best, unit: probability).

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    filled = bins.count > 0
    gaps = np.abs(bins.accuracy - bins.confidence)[filled]
    return float(np.average(gaps, weights=bins.count[filled]))


def bias_corrected_calibration_error(bins: CalibrationBins) -> float:
    """Calibration error less the estimated share that comes from having few images a bin (0 is best, never below 0).

    The bias is the mean error when each bin's accuracy is drawn from a normal distribution around the observed one,
    less the observed error. Per bin this removes about 40 % of the bias of a perfectly calibrated model and
    overshoots by up to a tenth of a standard error where the true gap is one to two of them.

    Source: Kumar, Liang and Ma 2019, arXiv:1909.10155, the debiased estimator for the plain (l1) error.
    """
    filled = bins.count > 0
    count, accuracy = bins.count[filled], bins.accuracy[filled]
    gap = np.abs(accuracy - bins.confidence[filled])
    spread = np.sqrt(accuracy * (1 - accuracy) / count)
    ratio = np.divide(gap, spread, out=np.full(gap.shape, np.inf), where=spread > 0)
    # Mean of the absolute value of a normal variable with mean `gap` and this spread (folded normal).
    expected = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gap * (2 * ndtr(ratio) - 1)
    return max(0.0, float(np.average(2 * gap - expected, weights=count)))


def consistency_band(confidence: Float[np.ndarray, "n"], *, num_simulations: int, seed: int) -> ConsistencyBand:
    """The range of the calibration error, and of each bin's accuracy, if every confidence were exactly right.

    Outcomes are drawn with the stated confidences, image by image; groups play no part in it.

    Args:
        confidence: probability of the predicted class.
        num_simulations: sets of outcomes to draw.
        seed: names the draw; the order of the rows does not matter.
    Source: Broecker and Smith 2007, doi:10.1175/WAF993.1, consistency resampling at fixed confidences.
    """
    confidence = np.sort(confidence)
    count = np.bincount(_bin_index(confidence), minlength=NUM_BINS)
    filled = count > 0
    starts = np.searchsorted(confidence, bin_edges()[:-1])[filled]  # sorted, so every bin is one run of rows
    mean_confidence = np.add.reduceat(confidence, starts) / count[filled]
    rng = np.random.default_rng([seed, 1])
    rows_at_once = max(1, _CELLS // len(confidence))
    accuracy = np.concatenate(
        [
            _simulated_accuracy(rng, confidence, starts, min(rows_at_once, num_simulations - done))
            for done in range(0, num_simulations, rows_at_once)
        ]
    )
    errors = np.average(np.abs(accuracy - mean_confidence), axis=1, weights=count[filled])
    ece_low, ece_high = np.quantile(errors, BAND)
    band = np.full((2, NUM_BINS), np.nan)
    band[:, filled] = np.quantile(accuracy, BAND, axis=0)
    return ConsistencyBand(float(ece_low), float(ece_high), band[0], band[1])


def _simulated_accuracy(
    rng: np.random.Generator, confidence: np.ndarray, starts: np.ndarray, num_simulations: int
) -> Float[np.ndarray, "simulations filled"]:
    right = rng.random((num_simulations, len(confidence))) < confidence
    sizes = np.diff(np.append(starts, len(confidence)))
    return np.add.reduceat(right, starts, axis=1, dtype=np.int64) / sizes


def _bin_index(confidence: np.ndarray) -> Int[np.ndarray, "n"]:
    return np.minimum(np.searchsorted(bin_edges(), confidence, side="right") - 1, NUM_BINS - 1)


def _share(total: np.ndarray, count: np.ndarray) -> Float[np.ndarray, "bins"]:
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
