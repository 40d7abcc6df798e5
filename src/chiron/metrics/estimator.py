"""`Estimator`: gives each metric of one evaluation its value, its default interval and its warnings."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from chiron.metrics.cases import Cases
from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.auroc import auroc_interval
from chiron.metrics.intervals.average import average_interval
from chiron.metrics.intervals.bootstrap import bootstrap_interval, left_out_weights, resampled_weights
from chiron.metrics.intervals.precision_mean import precision_mean_interval
from chiron.metrics.intervals.proportion import ShareMethod
from chiron.metrics.intervals.ratio import Rate, ratio_interval
from chiron.metrics.intervals.table import Rule, region_note, requested_methods, rule_for
from chiron.metrics.means import Rows, share_estimate
from chiron.metrics.metric import Basis, Family, Metric
from chiron.metrics.ranking import Ranking
from chiron.metrics.statistics import StatisticKey, Statistics


class Estimator:
    """All values, resampled once, from which the estimates are read."""

    def __init__(
        self,
        cases: Cases,
        metrics: dict[str, Metric],
        *,
        num_resamples: int,
        confidence: float,
        seed: int,
        num_rows: int | None = None,
        methods: Mapping[str, str] | None = None,
    ) -> None:
        """All values of `cases`, and of every resample and every set of groups left out.

        Args:
            num_rows: images that the sets of groups left out are made for, where these cases are a part of them; so
                that of several parts with the same groups the same sets are left out.
            methods: intervals in the place of the defaults, as `intervals.table.requested_methods` takes them.
        """
        self.cases = cases
        self._metrics = metrics
        self.confidence = confidence
        self._requested = requested_methods(methods)
        self.counts = one_vs_rest(confusion_matrix(cases.y_true, cases.y_pred, num_classes=cases.num_classes))
        self.groups_by_class = [cases.groups_among(cases.y_true == i) for i in range(cases.num_classes)]
        statistics = Statistics(cases, metrics.values())
        sizes = {"num_rows": num_rows or cases.num_images, "seed": seed}
        self._values = statistics.of_data()
        self._resampled = statistics.of_blocks(resampled_weights(cases.num_groups, num_resamples, **sizes))
        self._left_out = statistics.of_blocks(left_out_weights(cases.num_groups, **sizes))
        self._rows = Rows(cases.group_index, cases.groups_given, num_resamples, confidence, seed)
        self._unit = self._rows.unit
        self._num_groups = cases.groups_among(self._all_rows())  # fewer than the cases' own where they are a part

    def overall(self, metric: Metric) -> Estimate:
        """The estimate of a metric with one value for all classes together (not the calibration error)."""
        if metric.family == Family.PROPORTION:
            return self.proportion(metric.compute(self.cases) > 0, np.ones(self.cases.num_images, dtype=bool))
        if metric.mean_of in self._metrics:
            return self.average(self._metrics[metric.mean_of], metric.key)
        rule = rule_for(metric)
        smallest, what = self._num_groups, self._unit
        if metric.basis == Basis.CONFUSION:
            smallest, what = min(self.groups_by_class), f"{self._unit} of the rarest class"
        note = region_note(rule, smallest, what)
        if metric.basis == Basis.ROWS and note is None:
            carrying = self._groups_that_carry(metric.compute(self.cases))
            note = region_note(rule, carrying, f"{self._unit} that carry the mean")
        return self._resampled_estimate((metric.key, None), metric, rule, smallest, note)

    def average(self, metric: Metric, key: str) -> Estimate:
        """The estimate of an average over classes: plain, weighted by the classes' images, or of the summed counts."""
        rule, what = rule_for(metric, average=True), f"{self._unit} of the rarest class"
        smallest, value = min(self.groups_by_class), float(self._values[key, None][0])
        note = region_note(rule, smallest, what)
        of_class = [self.part_of_mean(metric, index) for index in range(self.cases.num_classes)]
        is_resampled = ("micro", key) in metric.averages or Family.RESAMPLED in self._requested
        if is_resampled or np.isnan(value) or any(estimate.low is None for estimate in of_class):
            return self._resampled_estimate((key, None), metric, rule, smallest, note)
        is_weighted = ("weighted", key) in metric.averages
        images = np.bincount(self.cases.y_true, minlength=self.cases.num_classes)
        interval = average_interval(
            np.array([estimate.value for estimate in of_class]),
            np.array([(estimate.low, estimate.high) for estimate in of_class]),
            np.stack([self._resampled[metric.key, index] for index in range(self.cases.num_classes)]),
            images / images.sum() if is_weighted else np.full(len(images), 1 / len(images)),
            method=rule.method,
        )
        return self._estimate(value, interval, self._all_rows(), None, note)

    def resampled(self, key: StatisticKey) -> tuple[float, np.ndarray, np.ndarray]:
        """A value on the data, on every resample, and with every set of groups left out."""
        return float(self._values[key][0]), self._resampled[key], self._left_out[key]

    def one_class(self, metric: Metric, index: int) -> Estimate:
        """The estimate of a metric for one class against all others."""
        if metric.family == Family.PROPORTION:
            return self._class_proportion(metric, index)
        groups = self.groups_by_class[index]
        others = self.cases.groups_among(self.cases.y_true != index)
        rule, name = rule_for(metric), self.cases.classes[index]
        what = f"{self._unit} of class {name!r}" if groups <= others else f"{self._unit} of other classes than {name!r}"
        smallest = min(groups, others)
        if metric.family in (Family.RESAMPLED, Family.PRECISION_MEAN):
            note = region_note(rule, smallest, what) or self._jump(metric, index)
            return self._resampled_estimate((metric.key, index), metric, rule, smallest, note, groups)
        reason = self.undefined_reason(metric, index)
        if reason:
            return self._estimate(np.nan, Interval(None, None, rule.method), self._all_rows(), groups, reason)
        value = float(self._values[metric.key, index][0])
        interval = self._ratio(metric, index) if metric.family == Family.RATIO else self._auroc(metric, index, smallest)
        return self._estimate(value, interval, self._all_rows(), groups, region_note(rule, smallest, what))

    def part_of_mean(self, metric: Metric, index: int) -> Estimate:
        """The estimate of one class as the interval of a mean over classes takes it: proportions by mid-P."""
        if metric.family == Family.PROPORTION:
            return self._class_proportion(metric, index, "mid_p")
        return self.one_class(metric, index)

    def proportion(
        self,
        success: Bool[np.ndarray, "n"],
        counted: Bool[np.ndarray, "n"],
        positive_groups: int | None = None,
        method: ShareMethod = "wilson",
    ) -> Estimate:
        """The share of `success` among the rows that count (at least one), with its interval.

        Args:
            method: unless another was requested.
        """
        asked: ShareMethod = "clopper_pearson" if Family.PROPORTION in self._requested else method
        rows = self._rows.part(counted)
        return share_estimate(success[counted], rows, method=asked, positive_groups=positive_groups)

    def undefined_reason(self, metric: Metric, index: int) -> str | None:
        """Why a metric is undefined for a class; None where it is defined."""
        counts = Counts(*(count[index] for count in self.counts))
        unmet = [need for need in metric.needs if not need.is_met(counts)]
        return unmet[0].reason(self.cases.classes[index]) if unmet else None

    def _class_proportion(self, metric: Metric, index: int, method: ShareMethod = "wilson") -> Estimate:
        groups = self.groups_by_class[index]
        is_true, is_predicted = self.cases.y_true == index, self.cases.y_pred == index
        one_row = Counts(
            is_true & is_predicted, ~is_true & is_predicted, is_true & ~is_predicted, ~is_true & ~is_predicted
        )
        success, counted = metric.compute(Counts(*(kind.astype(np.int64) for kind in one_row)))
        reason = self.undefined_reason(metric, index)
        if reason:
            no_limits = Interval(None, None, rule_for(metric).method)
            return self._estimate(np.nan, no_limits, counted > 0, groups, reason)
        share = self.proportion(success > 0, counted > 0, groups, method)
        if metric.of_share is None or share.value is None or share.low is None or share.high is None:
            return share
        value, low, high = (metric.of_share(limit) for limit in (share.value, share.low, share.high))
        return replace(share, value=value, low=low, high=high)

    def _jump(self, metric: Metric, index: int) -> str | None:
        """Why the value of a rank metric jumps between equal scores, so that no resample is like the next."""
        if metric.jump is None:
            return None
        ranking = Ranking(self.cases.y_true == index, self.cases.y_prob[:, index])
        return metric.jump(ranking.plain_counts())

    def _groups_that_carry(self, values: Float[np.ndarray, "n"]) -> int:
        """Effective number of groups behind a sum, (sum L)^2 / sum L^2: few where few images lose nearly everything."""
        by_group = np.bincount(self.cases.group_index, weights=values)
        squares = (by_group**2).sum()
        return int(by_group.sum() ** 2 / squares) if squares > 0 else self._num_groups

    def _resampled_estimate(
        self, key: StatisticKey, metric: Metric, rule: Rule, smallest: int, note: str | None, groups: int | None = None
    ) -> Estimate:
        value = float(self._values[key][0])
        if np.isnan(value):
            indices = range(self.cases.num_classes) if key[1] is None else [key[1]]
            reasons = [reason for i in indices if (reason := self.undefined_reason(metric, i))]
            no_limits = Interval(None, None, rule.method)
            return self._estimate(value, no_limits, self._all_rows(), groups, "; ".join(reasons))
        requested = self._requested.get(Family.RESAMPLED)
        interval = self._bootstrap(key, metric, smallest, requested)
        if metric.family == Family.PRECISION_MEAN and key[1] is not None and not requested:
            of_class = self.cases.group_index[self.cases.y_true == key[1]]
            interval = precision_mean_interval(
                value, self._resampled[key], of_class, interval, confidence=self.confidence
            )
        return self._estimate(value, interval, self._all_rows(), groups, note)

    def _bootstrap(self, key: StatisticKey, metric: Metric, smallest: int, requested: str | None) -> Interval:
        return bootstrap_interval(
            float(self._values[key][0]),
            self._resampled[key],
            self._left_out[key],
            degrees_of_freedom=smallest - 1,
            lower_bound=metric.lower_bound,
            upper_bound=metric.upper_bound,
            confidence=self.confidence,
            method="bootstrap" if self._num_groups == self.cases.num_images else "cluster bootstrap",
            requested=requested,
        )

    def _auroc(self, metric: Metric, index: int, smallest: int) -> Interval:
        requested = self._requested.get(Family.AUROC)
        if requested in ("percentile", "bca"):
            return self._bootstrap((metric.key, index), metric, smallest, requested)
        of_class, scores = self.cases.y_true == index, self.cases.y_prob[:, index]
        plain = requested == "delong"
        return auroc_interval(of_class, scores, self.cases.group_index, confidence=self.confidence, plain=plain)

    def _ratio(self, metric: Metric, index: int) -> Interval:
        """Of a share of the class's images and the same share of the others: of those that are called so, or not."""
        of_class = self.cases.y_true == index
        counted = (self.cases.y_pred == index) == (metric.direction == "up")
        inside, outside = (self._rate(counted & side, side) for side in (of_class, ~of_class))
        return ratio_interval(inside, outside, confidence=self.confidence)

    def _rate(self, success: Bool[np.ndarray, "n"], counted: Bool[np.ndarray, "n"]) -> Rate:
        index, num_groups = self.cases.group_index, self.cases.num_groups
        return Rate(*(np.bincount(index[rows], minlength=num_groups) for rows in (success, counted)))

    def _all_rows(self) -> Bool[np.ndarray, "n"]:
        return np.ones(self.cases.num_images, dtype=bool)

    def _estimate(
        self, value: float, interval: Interval, rows: np.ndarray, positive_groups: int | None, note: str | None
    ) -> Estimate:
        return self._rows.part(rows).estimate(value, interval, note, positive_groups)
