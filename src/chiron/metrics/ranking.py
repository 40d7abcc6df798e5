"""One sorted array of scores serves every rank metric and every resample of it: a resample is a column of weights."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse


@dataclass(frozen=True)
class RankedCounts:
    """What stands at or above each threshold in each resample; the thresholds are the scores of positive images.

    Each is called positive whose score is at least the threshold. Resamples are rows: running sums along a row are
    twenty times as fast as down a column. `tied_at` are the thresholds that negatives have as well, `tied` their
    weight there.
    """

    weight: Int[np.ndarray, "resamples thresholds"]  # positives at the threshold
    tp: Int[np.ndarray, "resamples thresholds"]
    fp: Int[np.ndarray, "resamples thresholds"]
    tied_at: Int[np.ndarray, "ties"]
    tied: Int[np.ndarray, "resamples ties"]
    num_positive: Int[np.ndarray, "resamples"]
    num_negative: Int[np.ndarray, "resamples"]

    @property
    def has_both(self) -> Bool[np.ndarray, "resamples"]:
        """Where there are positive and negative images."""
        return (self.num_positive > 0) & (self.num_negative > 0)

    @cached_property
    def misordered(self) -> Int[np.ndarray, "resamples thresholds"]:
        """Pairs of a positive at the threshold and a negative at it or above."""
        return np.multiply(self.weight, self.fp, dtype=np.int64)

    @cached_property
    def tied_pairs(self) -> Int[np.ndarray, "resamples ties"]:
        """Pairs of a positive and a negative with the same score."""
        return np.multiply(self.weight[:, self.tied_at], self.tied, dtype=np.int64)


class Ranking:
    """Thresholds of one class and what each group of images adds between them, for any weights of the groups."""

    def __init__(
        self,
        positive: Bool[np.ndarray, "n"],
        y_score: Float[np.ndarray, "n"],
        group_index: Int[np.ndarray, "n"] | None = None,
        num_groups: int | None = None,
    ) -> None:
        """Sorts once; only the order of the scores matters, equal scores are one threshold.

        Args:
            group_index: number of each row's group; None makes every row its own.
            num_groups: where there are groups beyond the largest number.
        """
        groups = np.arange(len(positive)) if group_index is None else group_index
        self.num_groups = num_groups or int(groups.max(initial=-1)) + 1
        falling = -y_score
        thresholds, at = np.unique(falling[positive], return_inverse=True)
        num_thresholds = len(thresholds)
        counted_from = np.searchsorted(thresholds, falling[~positive], side="left")  # beyond the last: never
        equal = np.append(thresholds, np.nan)[counted_from] == falling[~positive]
        self._tied_at, tie = np.unique(counted_from[equal], return_inverse=True)
        self._positives = self._sums(at, groups[positive], num_thresholds)
        self._negatives = self._sums(counted_from, groups[~positive], num_thresholds + 1)
        self._tied = self._sums(tie, groups[~positive][equal], len(self._tied_at))

    def counts(self, weights: Int[np.ndarray, "groups resamples"]) -> RankedCounts:
        """Weighted counts at every threshold when group g stands `weights[g, r]` times in resample r."""
        weights = weights.astype(np.int32, copy=False)  # 32-bit sums are several times as fast
        weight = _by_resample(self._positives @ weights)
        tp = np.cumsum(weight, axis=1, dtype=weight.dtype)
        fp = _by_resample(self._negatives @ weights)
        np.cumsum(fp, axis=1, dtype=fp.dtype, out=fp)
        return RankedCounts(
            weight=weight,
            tp=tp,
            fp=fp[:, :-1],
            tied_at=self._tied_at,
            tied=_by_resample(self._tied @ weights),
            num_positive=weight.sum(axis=1),
            num_negative=fp[:, -1].astype(np.int64),
        )

    def plain_counts(self) -> RankedCounts:
        """The counts of the data themselves: one resample in which every row stands once."""
        return self.counts(np.ones((self.num_groups, 1), dtype=np.int32))

    def _sums(self, place: np.ndarray, groups: np.ndarray, num_places: int) -> sparse.csr_array:
        """The matrix that sums the weights of the groups whose rows have a place."""
        ones = np.ones(len(place), dtype=np.int32)
        return sparse.csr_array((ones, (place, groups)), shape=(num_places, self.num_groups))


def _by_resample(counts: Int[np.ndarray, "places resamples"]) -> Int[np.ndarray, "resamples places"]:
    return np.ascontiguousarray(counts.T)
