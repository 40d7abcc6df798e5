"""The difference of one metric between two sets of cases that share no group, with its interval."""

import numpy as np
from scipy import special

from chiron.core.errors import MetricError
from chiron.metrics.cases import Cases
from chiron.metrics.estimate import Estimate
from chiron.metrics.intervals.bootstrap import bca_limits, left_out_weights, resampled_weights
from chiron.metrics.intervals.table import region_note, rule_for
from chiron.metrics.metric import Basis, Metric
from chiron.metrics.statistics import Statistics


def difference_of(
    metric: Metric, first: Cases, second: Cases, *, num_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """The metric of `second` minus that of `first`: groups of both are resampled, each set by itself.

    BCa limits, and where these are undefined the bootstrap's standard error with t.

    Args:
        metric: one that is a mean over rows.
        first, second: of groups that are not the same ones.
    Raises:
        MetricError: the metric is no mean over rows.
    Source: acceleration of two samples: Davison & Hinkley 1997, Bootstrap Methods, section 5.3.
    """
    if metric.basis != Basis.ROWS:
        raise MetricError(f"A difference is of a metric that is a mean over rows. Got {metric.key}. Take log_loss.")
    values, resampled, influence = zip(
        *(_of_one(metric, cases, num_resamples, seed=2 * seed + k) for k, cases in enumerate((first, second))),
        strict=True,
    )
    value, spread = values[1] - values[0], resampled[1] - resampled[0]
    method = "cluster bootstrap of both" if first.groups_given else "bootstrap of both; every image its own group"
    smallest = min(first.num_groups, second.num_groups)
    notes = [region_note(rule_for(metric), smallest, "groups of the smaller set")]
    limits: tuple[float | None, float | None] = (None, None)
    if np.ptp(spread) <= 1e-12 or smallest < 2:
        notes.append("every resample gives the same value, so that its spread is unknown")
    elif bca := bca_limits(value, spread, np.concatenate([-influence[0], influence[1]]), confidence=confidence):
        limits, method = bca, f"{method}, BCa"
    else:
        half = special.stdtrit(smallest - 1, (1 + confidence) / 2) * spread.std(ddof=1)
        limits, method = (float(value - half), float(value + half)), f"{method}, t"
    return Estimate(
        value=float(value),
        low=limits[0],
        high=limits[1],
        method=method,
        num_images=first.num_images + second.num_images,
        num_groups=first.num_groups + second.num_groups,
        note="; ".join(note for note in notes if note) or None,
    )


def _of_one(metric: Metric, cases: Cases, num_resamples: int, *, seed: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The value, that of each resample, and what leaving out each set of groups adds to it, about its mean."""
    statistics, key = Statistics(cases, [metric]), (metric.key, None)
    sizes = {"num_rows": cases.num_images, "seed": seed}
    left_out = statistics.of_blocks(left_out_weights(cases.num_groups, **sizes))[key]
    return (
        float(statistics.of_data()[key][0]),
        statistics.of_blocks(resampled_weights(cases.num_groups, num_resamples, **sizes))[key],
        left_out - left_out.mean(),
    )
