"""One sorted array of scores serves every rank metric and every resample of it: a resample is a column of weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num


class RankedCounts(NamedTuple):
    """For each positive image (row) and resample (column): how much weight scores at least as high."""

    weight: Num[np.ndarray, "positives resamples"]
    tp: Num[np.ndarray, "positives resamples"]  # positives with this score or a higher one
    fp: Num[np.ndarray, "positives resamples"]  # negatives with this score or a higher one
    fp_above: Num[np.ndarray, "positives resamples"]  # negatives with a higher score
    num_positive: Num[np.ndarray, "resamples"]
    num_negative: Num[np.ndarray, "resamples"]


@dataclass(frozen=True)
class Ranking:
    """Rows by falling score; equal scores are one threshold."""

    positive: Bool[np.ndarray, "n"]
    y_score: Float[np.ndarray, "n"]

    @cached_property
    def order(self) -> Int[np.ndarray, "n"]:
        """Row numbers by falling score."""
        return np.argsort(-self.y_score, kind="stable")

    @cached_property
    def _places(self) -> tuple[np.ndarray, ...]:
        falling = -self.y_score[self.order]
        at = np.flatnonzero(self.positive[self.order])
        first = np.searchsorted(falling, falling[at], side="left")  # rows with a higher score
        last = np.searchsorted(falling, falling[at], side="right")  # rows with this score or a higher one
        return at, first, last, np.searchsorted(at, first), np.searchsorted(at, last)

    def counts(self, row_weights: Num[np.ndarray, "n resamples"]) -> RankedCounts:
        """Weighted counts at the score of every positive image.

        Args:
            row_weights: how often each row stands in each resample, in the order of `y_score`.
        """
        at, first, last, positives_first, positives_last = self._places
        weights = row_weights[self.order]
        above = _cumulated(weights)
        weight = weights[at]
        positives_above = _cumulated(weight)
        tp = positives_above[positives_last]
        num_positive = positives_above[-1]
        return RankedCounts(
            weight=weight,
            tp=tp,
            fp=above[last] - tp,
            fp_above=above[first] - positives_above[positives_first],
            num_positive=num_positive,
            num_negative=above[-1] - num_positive,
        )

    def plain_counts(self) -> RankedCounts:
        """The counts of the data themselves: one resample in which every row stands once."""
        return self.counts(np.ones((len(self.y_score), 1), dtype=np.int32))


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """Running sums down the rows, starting with a row of zeros; keeps the type (32-bit counts are twice as fast)."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, dtype=weights.dtype, out=sums[1:])
    return sums
