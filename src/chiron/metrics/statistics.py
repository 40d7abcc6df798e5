"""`Statistics`: the values of every metric under weights of groups, all metrics sharing one set of weights.

The data themselves, a bootstrap resample and the data without one group are the same computation with other weights.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import sparse

from chiron.metrics.cases import Cases
from chiron.metrics.confusion import Counts, one_vs_rest
from chiron.metrics.metric import Basis, Metric
from chiron.metrics.ranking import Ranking

# (metric key, class index) for one class; (key of the metric or of its average, None) for all classes together.
StatisticKey = tuple[str, int | None]
StatisticValues = dict[StatisticKey, Float[np.ndarray, "resamples"]]


class Statistics:
    """What has to be prepared once, so that any weights of the groups give all values quickly."""

    def __init__(self, cases: Cases, metrics: Iterable[Metric]) -> None:
        self._cases = cases
        self._metrics = list(metrics)
        cells = cases.y_true * cases.num_classes + cases.y_pred
        ones = np.ones(cases.num_images, dtype=np.int64)
        shape = (cases.num_classes**2, cases.num_groups)
        self._confusion_by_group = sparse.csr_array((ones, (cells, cases.group_index)), shape=shape)
        self._size_by_group = np.bincount(cases.group_index, minlength=cases.num_groups)
        self._row_sums_by_group = {
            metric.key: np.bincount(cases.group_index, weights=metric.compute(cases), minlength=cases.num_groups)
            for metric in self._of(Basis.ROWS)
        }
        ranked = range(cases.num_classes if self._of(Basis.RANKS) else 0)
        self._rankings = [
            Ranking(cases.y_true == index, cases.y_prob[:, index], cases.group_index, cases.num_groups)
            for index in ranked
        ]

    def of_data(self) -> StatisticValues:
        """Values of the data themselves, each an array of one."""
        return self(np.ones((self._cases.num_groups, 1), dtype=np.int32))

    def of_blocks(self, blocks: Iterable[Int[np.ndarray, "groups _"]]) -> StatisticValues:
        """Values for every column of the weight blocks, in order."""
        parts = [self(weights) for weights in blocks]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def __call__(self, weights: Int[np.ndarray, "groups resamples"]) -> StatisticValues:
        """Values when group g stands `weights[g, r]` times in resample r; NaN where undefined."""
        values: StatisticValues = {}
        confusion = self._confusion_matrices(weights)
        images = self._size_by_group @ weights
        for metric in self._of(Basis.ROWS):
            values[metric.key, None] = _share(self._row_sums_by_group[metric.key] @ weights, images)
        for metric in self._of(Basis.CONFUSION):
            values[metric.key, None] = metric.compute(confusion)
        counts = one_vs_rest(confusion)
        self._add_class_values(values, weights, counts)
        self._add_averages(values, counts)
        return values

    def _of(self, basis: Basis) -> list[Metric]:
        return [metric for metric in self._metrics if metric.basis == basis]

    def _confusion_matrices(self, weights: np.ndarray) -> Int[np.ndarray, "resamples classes classes"]:
        num_classes = self._cases.num_classes
        return (self._confusion_by_group @ weights).T.reshape(-1, num_classes, num_classes)

    def _add_class_values(self, values: StatisticValues, weights: np.ndarray, counts: Counts) -> None:
        for metric in self._of(Basis.COUNTS):
            by_class = metric.values(counts)
            for index in range(self._cases.num_classes):
                values[metric.key, index] = by_class[:, index]
        for index, ranking in enumerate(self._rankings):
            ranked = ranking.counts(weights)
            for metric in self._of(Basis.RANKS):
                values[metric.key, index] = metric.compute(ranked)

    def _add_averages(self, values: StatisticValues, counts: Counts) -> None:
        support = counts.tp + counts.fn
        for metric in self._metrics:
            for average, key in metric.averages:
                if average == "micro":
                    numerator, denominator = metric.compute(counts)
                    values[key, None] = _share(numerator.sum(axis=1), denominator.sum(axis=1))
                    continue
                by_class = np.stack([values[metric.key, i] for i in range(self._cases.num_classes)], axis=1)
                if average == "macro":
                    values[key, None] = by_class.mean(axis=1)
                else:  # an absent class has weight 0, so that its undefined value does not matter
                    weighted = np.where(support > 0, by_class, 0.0) * support
                    values[key, None] = _share(weighted.sum(axis=1), support.sum(axis=1))


def _share(total: Num[np.ndarray, "resamples"], images: Int[np.ndarray, "resamples"]) -> np.ndarray:
    """The mean; NaN where the only group is left out and no image remains."""
    return np.divide(total, images, out=np.full(total.shape, np.nan), where=images > 0)
