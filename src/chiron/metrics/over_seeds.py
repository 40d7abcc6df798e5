"""The mean of a metric over trainings that differ in their seed alone, with an interval for the way of training.

Two things move it: which cases the test set happens to hold, the same ones for every seed, and which seeds were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import special

from chiron.core.errors import MetricError
from chiron.metrics.by_name import statistic_of
from chiron.metrics.cases import Cases
from chiron.metrics.intervals.bootstrap import resampled_weights
from chiron.metrics.intervals.table import region_note, rule_for
from chiron.metrics.metric import Basis
from chiron.metrics.statistics import Statistics

FEWEST_SEEDS = 3


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds as reported; null where undefined, with the reason in `note`.

    `case_se` is the standard error that the cases give the mean, `seed_sd` the spread of single trainings.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    values: tuple[float | None, ...]  # of every seed, in order
    seed_sd: float | None
    case_se: float | None
    degrees_of_freedom: float | None
    num_images: int
    num_groups: int
    note: str | None = None


def mean_over_seeds(
    name: str, runs: Sequence[Cases], *, num_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> SeedMean:
    """The mean of a metric over trainings, each scored on the same images.

    The variance is that of the cases (cluster bootstrap of the mean over seeds, every seed under the same weights) plus
    s^2 / S of S seeds; the limits are those of t with Welch and Satterthwaite's degrees of freedom, on the logit scale
    (log scale where the metric has no upper bound).

    Args:
        runs: one a seed; same images, labels and groups, in the same order. Where every image is its own group, they
            need ids all the same: without them a group is numbered by what the training says of it.
    Raises:
        MetricError: no run, runs of other images, or an unknown metric.
    Source: Satterthwaite 1946, doi:10.2307/3002019.
    """
    first = _same_images(runs)
    metric, key = statistic_of(name, first)
    values, resampled = [], []
    for cases in runs:
        statistics = Statistics(cases, [metric])
        values.append(float(statistics.of_data()[key][0]))
        weights = resampled_weights(first.num_groups, num_resamples, num_rows=first.num_images, seed=seed)
        resampled.append(statistics.of_blocks(weights)[key])
    value, spread = fmean(values), np.mean(resampled, axis=0)
    smallest = _smallest_side(first, key[1] is not None or not metric.is_overall or metric.basis == Basis.CONFUSION)
    rule = rule_for(metric, average=key[1] is None and not metric.is_overall)
    notes = [region_note(rule, smallest, "groups of the rarest class")]
    case_se = float(np.std(spread[np.isfinite(spread)], ddof=1)) if np.isfinite(spread).sum() > 1 else float("nan")
    seed_sd = stdev(values) if len(values) > 1 and np.isfinite(values).all() else float("nan")
    limits: tuple[float | None, float | None] = (None, None)
    degrees, method = float("nan"), f"mean of {len(runs)} trainings, cases and seeds, t"
    if not np.isfinite(value):
        notes = ["the metric is not defined in every training"]
    elif np.isnan(spread).mean() > 0.05:
        notes.append(f"{np.isnan(spread).sum()} of {len(spread)} resamples leave the value undefined")
    else:
        seeds_known = len(runs) >= FEWEST_SEEDS
        if not seeds_known:
            method = "cases alone, t"
            notes.append(f"fewer than {FEWEST_SEEDS} trainings: how much a seed changes is not in the interval")
        degrees, error = _welch(case_se, seed_sd if seeds_known else 0.0, len(runs), smallest)
        limits = _limits(value, error, degrees, (metric.lower_bound, metric.upper_bound), confidence)
        if limits[0] is None:
            notes.append("the value lies at the end of its range, or nothing varies, so that there are no limits")
    return SeedMean(
        value=_plain(value),
        low=limits[0],
        high=limits[1],
        method=method if first.groups_given else f"{method}; every image its own group",
        values=tuple(map(_plain, values)),
        seed_sd=_plain(seed_sd),
        case_se=_plain(case_se),
        degrees_of_freedom=_plain(degrees),
        num_images=first.num_images,
        num_groups=first.num_groups,
        note="; ".join(note for note in notes if note) or None,
    )


def mean_over_folds(folds: Sequence[SeedMean]) -> SeedMean:
    """The mean over folds of the mean over seeds; folds are never pooled.

    It has no interval: trainings of other folds share most of their images, so that their spread says too little.

    Args:
        folds: the same seeds in each.
    """
    by_seed = [
        None if None in of_seed else fmean(of_seed) for of_seed in zip(*(it.values for it in folds), strict=True)
    ]
    known = [value for value in by_seed if value is not None]
    whole = len(known) == len(by_seed)
    return SeedMean(
        value=fmean(known) if whole else None,
        low=None,
        high=None,
        method=f"mean of {len(folds)} folds",
        values=tuple(by_seed),
        seed_sd=stdev(known) if whole and len(known) > 1 else None,
        case_se=None,
        degrees_of_freedom=None,
        num_images=sum(it.num_images for it in folds),
        num_groups=sum(it.num_groups for it in folds),
        note="no interval: the trainings of other folds share images" if whole else "not defined in every fold",
    )


def _same_images(runs: Sequence[Cases]) -> Cases:
    if not runs:
        raise MetricError("A mean over seeds needs at least one training. Got none. Train one.")
    first = runs[0]
    for cases in runs[1:]:
        if not (np.array_equal(cases.y_true, first.y_true) and np.array_equal(cases.group_index, first.group_index)):
            raise MetricError(
                "Trainings that are averaged must be scored on the same images in the same order. Got other labels or "
                "groups. Score them on one split."
            )
    return first


def _smallest_side(cases: Cases, by_class: bool) -> int:
    if not by_class:
        return cases.num_groups
    return min(cases.groups_among(cases.y_true == index) for index in range(cases.num_classes))


def _welch(case_se: float, seed_sd: float, num_seeds: int, num_groups: int) -> tuple[float, float]:
    """Degrees of freedom and standard error of the sum of both variances."""
    of_cases, of_seeds = case_se**2, seed_sd**2 / num_seeds
    total = of_cases + of_seeds
    below = of_cases**2 / max(1, num_groups - 1) + of_seeds**2 / max(1, num_seeds - 1)
    return (total**2 / below if below > 0 else float("nan")), float(np.sqrt(total))


def _limits(
    value: float, error: float, degrees: float, bounds: tuple[float, float], confidence: float
) -> tuple[float | None, float | None]:
    lower_bound, upper_bound = bounds
    if not lower_bound < value < upper_bound or not error > 0 or not degrees > 0:
        return None, None
    half = special.stdtrit(degrees, (1 + confidence) / 2) * error
    above = value - lower_bound
    if np.isinf(upper_bound):
        factor = np.exp(half / above)
        return float(lower_bound + above / factor), float(lower_bound + above * factor)
    span = upper_bound - lower_bound
    share = above / span
    half /= span * share * (1 - share)
    low, high = lower_bound + span * special.expit(special.logit(share) + np.array([-half, half]))
    return float(low), float(high)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
