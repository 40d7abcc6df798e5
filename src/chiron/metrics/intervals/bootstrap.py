"""Cluster bootstrap: weights of groups, and limits from resampled values (the wider of BCa and logit t).

Groups are drawn, not images, and not stratified by class: stratifying makes intervals of class-wise means too narrow.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from chiron.metrics.estimate import Interval

LARGEST_UNDEFINED_SHARE = 0.05
_CELLS = 4_000_000  # rows x resamples held at once
_BLOCKS = (64, 256)  # resamples at once: fewer are slow by their number, more leave the cache of the processor
_CACHED_CELLS = 100_000  # rows x resamples that the cache holds
_JACKKNIFE_CELLS = 20_000_000  # rows x left-out sets up to which every single group is left out


def resampled_weights(
    num_groups: int, num_resamples: int, *, num_rows: int, seed: int
) -> Iterator[Int[np.ndarray, "groups block"]]:
    """How often each group stands in each resample, in blocks of resamples that bound the memory.

    The weights do not depend on the block size.

    Args:
        num_rows: images, which decide the size of a block.
        seed: names the draw.
    """
    rng = np.random.default_rng([seed, 0])
    block = _block_size(num_rows)
    for done in range(0, num_resamples, block):
        size = min(block, num_resamples - done)
        drawn = rng.integers(num_groups, size=(size, num_groups))
        flat = (drawn + np.arange(size)[:, np.newaxis] * num_groups).ravel()
        weights = np.bincount(flat, minlength=size * num_groups).reshape(size, num_groups)
        yield np.ascontiguousarray(weights.T, dtype=np.int32)


def left_out_weights(num_groups: int, *, num_rows: int, seed: int) -> Iterator[Int[np.ndarray, "groups block"]]:
    """Weights that leave out one group at a time, for the acceleration of BCa.

    From about 4,500 groups on, random sets of groups are left out instead, at least 1,000 of them: the acceleration is
    a sum of third moments over groups and has the same expectation over sets.
    """
    num_sets = min(num_groups, max(1000, _JACKKNIFE_CELLS // num_rows))
    set_of_group = np.arange(num_groups)
    if num_sets < num_groups:
        set_of_group = np.random.default_rng([seed, 2]).permutation(num_groups) % num_sets
    block = _block_size(num_rows)
    for done in range(0, num_sets, block):
        left_out = np.arange(done, min(done + block, num_sets))
        yield (set_of_group[:, np.newaxis] != left_out).astype(np.int32)


def bootstrap_interval(
    value: float,
    resampled: Float[np.ndarray, "resamples"],
    left_out: Float[np.ndarray, "sets"],
    *,
    degrees_of_freedom: int,
    lower_bound: float = 0.0,
    upper_bound: float = 1.0,
    confidence: float = 0.95,
    method: str = "cluster bootstrap",
    requested: str | None = None,
) -> Interval:
    """The wider, on each side, of BCa and of the bootstrap's standard error with t on the logit scale.

    The one that is defined where the other is not; null where both are undefined.

    Args:
        value: the metric on the data.
        resampled: the metric on each resample, NaN where a class is missing.
        left_out: the metric with one group left out at a time.
        degrees_of_freedom: of the t quantile: groups of the rarest class - 1.
        lower_bound: least possible value, which is 0 on the logit scale; minus infinity leaves the scale as it is.
        upper_bound: largest possible value; the logarithm takes the place of the logit where it is infinite.
        requested: "percentile" or "bca": this method alone, null where it is undefined.
    """
    refused, note = undefined_note(np.isfinite(resampled))
    if refused:
        return Interval(None, None, method, note)
    defined = resampled[np.isfinite(resampled)]
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        return Interval(None, None, method, "every resample gives the same value, so that its spread is unknown")
    if requested == "percentile":
        return Interval(*percentile_limits(defined, confidence=confidence), f"{method}, percentile, as requested", note)
    bca = bca_limits(value, defined, left_out, confidence=confidence)
    if requested:
        if bca is None:
            return Interval(None, None, f"{method}, BCa, as requested", "BCa is undefined for these resamples")
        return Interval(*bca, f"{method}, BCa, as requested", note)
    bounds = (lower_bound, upper_bound)
    by_t = scaled_t_limits(value, defined, degrees_of_freedom, bounds=bounds, confidence=confidence)
    if bca and by_t:
        low, high = min(bca[0], by_t[0]), max(bca[1], by_t[1])
        return Interval(low, high, f"{method}, wider of BCa and {_scale(bounds)}t", note)
    if bca:
        return Interval(*bca, f"{method}, BCa", note)
    if by_t:
        return Interval(*by_t, f"{method}, {_scale(bounds)}t", note)
    return Interval(None, None, method, "the value lies at the end of its range, where BCa and logit are undefined")


def undefined_note(defined: Bool[np.ndarray, "resamples"]) -> tuple[bool, str | None]:
    """Whether too many resamples leave the value undefined for an interval, and what to say about them."""
    undefined, total = int(np.count_nonzero(~defined)), len(defined)
    if undefined > LARGEST_UNDEFINED_SHARE * total:
        return True, f"{undefined} of {total} resamples leave the value undefined"
    return False, f"{undefined} of {total} resamples lack a class and are left out" if undefined else None


def percentile_limits(resampled: Float[np.ndarray, "resamples"], *, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile limits: on request only, they are too narrow near the ends of the range and for few groups."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bca_limits(
    value: float,
    resampled: Float[np.ndarray, "resamples"],
    left_out: Float[np.ndarray, "sets"],
    *,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated limits; None where they are undefined or would leave out the value itself.

    Source: Efron 1987, doi:10.2307/2289144; acceleration by leaving out groups.
    """
    below = (np.mean(resampled < value) + np.mean(resampled <= value)) / 2
    bias = special.ndtri(below)
    influence = left_out.mean() - left_out
    if not np.isfinite(bias) or not np.isfinite(influence).all() or np.ptp(influence) <= 1e-12 * abs(value):
        return None
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    stretch = 1 - acceleration * shifted
    if (stretch <= 0).any() or shifted[0] >= 0 or shifted[1] <= 0:
        return None
    low, high = np.quantile(resampled, special.ndtr(bias + shifted / stretch))
    return (min(float(low), value), max(float(high), value)) if low < high else None


def scaled_t_limits(
    value: float,
    resampled: Float[np.ndarray, "resamples"],
    degrees_of_freedom: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Limits from the bootstrap's standard error with t, on the scale of the bounds; None at the range's ends.

    Args:
        bounds: of the value. Two finite ones: logit scale; the upper one infinite: log scale; both: as it is.
    """
    low, high = bounds
    error = resampled.std(ddof=1)
    if not low < value < high or not error > 0 or degrees_of_freedom < 1:
        return None
    half = special.stdtrit(degrees_of_freedom, (1 + confidence) / 2) * error
    if np.isinf(low):
        return float(value - half), float(value + half)
    if np.isinf(high):
        half /= value - low
        return float(low + (value - low) * np.exp(-half)), float(low + (value - low) * np.exp(half))
    share = (value - low) / (high - low)
    half /= (high - low) * share * (1 - share)
    limits = low + special.expit(special.logit(share) + np.array([-half, half])) * (high - low)
    return float(limits[0]), float(limits[1])


def _scale(bounds: tuple[float, float]) -> str:
    if np.isinf(bounds[0]):
        return ""
    return "log " if np.isinf(bounds[1]) else "logit "


def _block_size(num_rows: int) -> int:
    in_cache = min(max(_CACHED_CELLS // num_rows, _BLOCKS[0]), _BLOCKS[1])
    return max(1, min(in_cache, _CELLS // num_rows))
