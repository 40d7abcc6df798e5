"""`Estimator`: gives each metric of one evaluation its value, its default interval and its warnings."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from chiron.metrics.cases import Cases
from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.auroc import auroc_interval
from chiron.metrics.intervals.bootstrap import bootstrap_interval, left_out_weights, resampled_weights
from chiron.metrics.intervals.proportion import proportion_interval
from chiron.metrics.intervals.ratio import Rate, ratio_interval
from chiron.metrics.intervals.table import RULES, Rule, region_note, requested_methods, rule_for
from chiron.metrics.metric import Basis, Family, Metric
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
        self.confidence = confidence
        self._requested = requested_methods(methods)
        self.counts = one_vs_rest(confusion_matrix(cases.y_true, cases.y_pred, num_classes=cases.num_classes))
        self.groups_by_class = [cases.groups_among(cases.y_true == i) for i in range(cases.num_classes)]
        statistics = Statistics(cases, metrics.values())
        sizes = {"num_rows": num_rows or cases.num_images, "seed": seed}
        self._values = statistics.of_data()
        self._resampled = statistics.of_blocks(resampled_weights(cases.num_groups, num_resamples, **sizes))
        self._left_out = statistics.of_blocks(left_out_weights(cases.num_groups, **sizes))
        self._unit = "groups" if cases.groups_given else "images"
        self._num_groups = cases.groups_among(self._all_rows())  # fewer than the cases' own where they are a part

    def overall(self, metric: Metric) -> Estimate:
        """The estimate of a metric with one value for all classes together (not the calibration error)."""
        if metric.family == Family.PROPORTION:
            return self.proportion(metric.compute(self.cases) > 0, np.ones(self.cases.num_images, dtype=bool))
        rule = rule_for(metric)
        by_class = metric.basis == Basis.CONFUSION
        smallest = min(self.groups_by_class) if by_class else self._num_groups
        what = f"{self._unit} of the rarest class" if by_class else self._unit
        return self._resampled_estimate((metric.key, None), metric, rule, smallest, what)

    def average(self, metric: Metric, key: str) -> Estimate:
        """The estimate of the mean over classes of a metric."""
        rule, what = rule_for(metric, average=True), f"{self._unit} of the rarest class"
        return self._resampled_estimate((key, None), metric, rule, min(self.groups_by_class), what)

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
        if metric.family == Family.RESAMPLED:
            return self._resampled_estimate((metric.key, index), metric, rule, smallest, what, groups)
        reason = self.undefined_reason(metric, index)
        if reason:
            return self._estimate(np.nan, Interval(None, None, rule.method), self._all_rows(), groups, reason)
        value = float(self._values[metric.key, index][0])
        interval = self._ratio(metric, index) if metric.family == Family.RATIO else self._auroc(metric, index, smallest)
        return self._estimate(value, interval, self._all_rows(), groups, region_note(rule, smallest, what))

    def proportion(
        self, success: Bool[np.ndarray, "n"], counted: Bool[np.ndarray, "n"], positive_groups: int | None = None
    ) -> Estimate:
        """The share of `success` among the rows that count (at least one), with its interval."""
        rate = self._rate(counted & success, counted)
        successes, totals = rate.successes, rate.totals
        exact = self._requested.get(Family.PROPORTION) == "clopper_pearson"
        interval = proportion_interval(successes, totals, confidence=self.confidence, exact=exact)
        note = region_note(RULES[Family.PROPORTION], int((totals > 0).sum()), f"{self._unit} counted")
        return self._estimate(successes.sum() / totals.sum(), interval, counted, positive_groups, note)

    def undefined_reason(self, metric: Metric, index: int) -> str | None:
        """Why a metric is undefined for a class; None where it is defined."""
        counts = Counts(*(count[index] for count in self.counts))
        unmet = [need for need in metric.needs if not need.is_met(counts)]
        return unmet[0].reason(self.cases.classes[index]) if unmet else None

    def _class_proportion(self, metric: Metric, index: int) -> Estimate:
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
        return self.proportion(success > 0, counted > 0, groups)

    def _resampled_estimate(
        self, key: StatisticKey, metric: Metric, rule: Rule, smallest: int, what: str, groups: int | None = None
    ) -> Estimate:
        value = float(self._values[key][0])
        if np.isnan(value):
            indices = range(self.cases.num_classes) if key[1] is None else [key[1]]
            reasons = [reason for i in indices if (reason := self.undefined_reason(metric, i))]
            no_limits = Interval(None, None, rule.method)
            return self._estimate(value, no_limits, self._all_rows(), groups, "; ".join(reasons))
        interval = self._bootstrap(key, metric, smallest, self._requested.get(Family.RESAMPLED))
        return self._estimate(value, interval, self._all_rows(), groups, region_note(rule, smallest, what))

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
        notes = [text for text in (note, interval.note) if text]
        return Estimate(
            value=None if np.isnan(value) else float(value),
            low=interval.low,
            high=interval.high,
            method=interval.method if self.cases.groups_given else f"{interval.method}; every image its own group",
            num_images=int(rows.sum()),
            num_groups=self.cases.groups_among(rows),
            num_positive_groups=positive_groups,
            note="; ".join(notes) or None,
        )
