"""`Rows` in groups, and estimates of a share and of a mean over them, for whatever is counted row by row."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.metrics.cases import number_groups
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.bootstrap import bootstrap_interval, left_out_weights, resampled_weights
from chiron.metrics.intervals.proportion import ShareMethod, proportion_interval
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.metric import Family

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Rows:
    """The group of each row and how intervals are made; `part` keeps some rows."""

    group_index: Int[np.ndarray, "n"]
    groups_given: bool
    num_resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    @property
    def unit(self) -> str:
        """What notes count."""
        return "groups" if self.groups_given else "images"

    @property
    def num_groups(self) -> int:
        """Number of groups with a row."""
        return int(np.count_nonzero(np.bincount(self.group_index)))

    def part(self, kept: Bool[np.ndarray, "n"]) -> "Rows":
        """The rows that are kept, their groups numbered anew."""
        there = np.bincount(self.group_index[kept]) > 0
        return replace(self, group_index=(np.cumsum(there) - 1)[self.group_index[kept]])

    def estimate(
        self, value: float, interval: Interval, note: str | None, positive_groups: int | None = None
    ) -> Estimate:
        """A value with its interval, and the sizes of these rows; null where the value is not finite."""
        notes = [text for text in (note, interval.note) if text]
        return Estimate(
            value=float(value) if np.isfinite(value) else None,
            low=interval.low,
            high=interval.high,
            method=interval.method if self.groups_given else f"{interval.method}; every image its own group",
            num_images=len(self.group_index),
            num_groups=self.num_groups,
            num_positive_groups=positive_groups,
            note="; ".join(notes) or None,
        )


def rows_of(
    groups: Sequence[Hashable] | None,
    num_rows: int,
    *,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Rows:
    """The rows of one evaluation.

    Args:
        groups: one id a row; None says that every row is its own group.
    Raises:
        MetricError: there is not one id a row.
    """
    index = np.arange(num_rows) if groups is None else number_groups(groups, num_rows)
    return Rows(index, groups is not None, num_resamples, confidence, seed)


def share_estimate(
    success: Bool[np.ndarray, "n"],
    rows: Rows,
    *,
    method: ShareMethod = "wilson",
    positive_groups: int | None = None,
    if_empty: str = "no image to count",
) -> Estimate:
    """The share of rows that succeed, with groups on their effective number.

    Args:
        method: of the interval.
        positive_groups: groups with an image of the class, where the share is of one.
        if_empty: why there is no share where there are no rows.
    """
    if not len(success):
        no_limits = Interval(None, None, RULES[Family.PROPORTION].method)
        return rows.estimate(np.nan, no_limits, if_empty, positive_groups)
    totals = np.bincount(rows.group_index)
    successes = np.bincount(rows.group_index[success], minlength=len(totals))
    interval = proportion_interval(successes, totals, confidence=rows.confidence, method=method)
    note = region_note(RULES[Family.PROPORTION], rows.num_groups, f"{rows.unit} counted")
    return rows.estimate(success.mean(), interval, note, positive_groups)


def mean_estimate(
    values: Float[np.ndarray, "n"], rows: Rows, *, lower_bound: float = 0.0, upper_bound: float = np.inf
) -> Estimate:
    """The mean over rows, by the cluster bootstrap.

    Args:
        lower_bound, upper_bound: the smallest and the largest value that there can be.
    """
    if not len(values):
        return rows.estimate(np.nan, Interval(None, None, RULES[Family.RESAMPLED].method), "no image to count")
    sizes = np.bincount(rows.group_index)
    sums = np.bincount(rows.group_index, weights=values)
    return resampled_estimate(
        lambda weights: _ratio(sums @ weights, sizes @ weights), rows, lower_bound=lower_bound, upper_bound=upper_bound
    )


def resampled_estimate(
    statistic: Statistic, rows: Rows, *, lower_bound: float = 0.0, upper_bound: float = 1.0
) -> Estimate:
    """Whatever a function of weights gives on the data, with its bootstrap interval.

    Args:
        statistic: weights of groups [groups, resamples] -> one value a resample, NaN where undefined.
    """
    count = int(rows.group_index.max()) + 1
    sizes = {"num_rows": len(rows.group_index), "seed": rows.seed}
    value = float(statistic(np.ones((count, 1), dtype=np.int32))[0])
    interval = bootstrap_interval(
        value,
        np.concatenate([statistic(weights) for weights in resampled_weights(count, rows.num_resamples, **sizes)]),
        np.concatenate([statistic(weights) for weights in left_out_weights(count, **sizes)]),
        degrees_of_freedom=count - 1,
        lower_bound=lower_bound,
        upper_bound=upper_bound,
        confidence=rows.confidence,
        method="bootstrap" if count == len(rows.group_index) else "cluster bootstrap",
    )
    return rows.estimate(value, interval, region_note(RULES[Family.RESAMPLED], count, f"{rows.unit} counted"))


def _ratio(total: np.ndarray, count: np.ndarray) -> Float[np.ndarray, "resamples"]:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
