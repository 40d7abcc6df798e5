"""`ComparedNumber`: which number of which class two models are compared by, found from its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float

from chiron.core.errors import MetricError
from chiron.core.suggest import did_you_mean
from chiron.metrics.cases import Cases
from chiron.metrics.confusion import Counts
from chiron.metrics.intervals.table import Rule, rule_for
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.statistics import StatisticKey

CLASS_MARK = ":"  # between the metric and the class, as in auroc:mel


class Road(StrEnum):
    """How the difference of a number is tested."""

    MCNEMAR = "mcnemar"  # a share of rows that are the same ones for all models
    DELONG = "delong"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True)
class ComparedNumber:
    """One number: the metric, and the class it is of; None for all classes together."""

    name: str
    metric: Metric
    key: StatisticKey
    is_average: bool = False

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.metric.direction == "up" else -1

    @property
    def is_ratio(self) -> bool:
        """True for a likelihood ratio: two of them are compared by their ratio, on the log scale."""
        return self.metric.family == Family.RATIO

    def on_scale(self, values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Values on the scale on which they are subtracted and averaged: logs of ratios, all others as they are."""
        with np.errstate(divide="ignore"):  # the log of 0 is no number to compare by
            return np.log(values) if self.is_ratio else values

    def off_scale(self, value: float) -> float:
        """The number of a value on that scale; of a mean of logs the geometric mean."""
        return float(np.exp(value)) if self.is_ratio else float(value)

    @property
    def road(self) -> Road:
        """The default test."""
        if self.is_average:
            return Road.BOOTSTRAP
        if self.metric.key == "auroc":
            return Road.DELONG
        same_rows = set(self.metric.needs) <= {Need.CLASS, Need.REST} and self.metric.of_share is None
        return Road.MCNEMAR if self.metric.family == Family.PROPORTION and same_rows else Road.BOOTSTRAP

    @property
    def rule(self) -> Rule:
        """From how many groups on a test can be relied on."""
        return rule_for(self.metric, average=self.is_average)

    def smallest(self, cases: Cases) -> tuple[int, str]:
        """Groups on the side that has fewest, and what they are."""
        unit = "groups" if cases.groups_given else "images"
        index = self.key[1]
        if index is None:
            if self.is_average or self.metric.basis == Basis.CONFUSION:
                fewest = min(cases.groups_among(cases.y_true == k) for k in range(cases.num_classes))
                return fewest, f"{unit} of the rarest class"
            return cases.groups_among(np.ones(cases.num_images, dtype=bool)), unit
        name = cases.classes[index]
        inside, outside = cases.groups_among(cases.y_true == index), cases.groups_among(cases.y_true != index)
        if self.road == Road.MCNEMAR:
            counted = cases.groups_among(self.successes(cases)[1])
            return counted, f"{unit} counted"
        if inside <= outside:
            return inside, f"{unit} of class {name!r}"
        return outside, f"{unit} of other classes than {name!r}"

    def successes(self, cases: Cases) -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
        """Of a share: 1 where a row succeeds, and which rows count."""
        index = self.key[1]
        if index is None:
            return self.metric.compute(cases), np.ones(cases.num_images, dtype=bool)
        is_true, is_called = cases.y_true == index, cases.y_pred == index
        cells = (is_true & is_called, ~is_true & is_called, is_true & ~is_called, ~is_true & ~is_called)
        success, counted = self.metric.compute(Counts(*(cell.astype(np.int64) for cell in cells)))
        return success.astype(np.float64), counted > 0


def find_number(name: str, cases: Cases, metrics: Mapping[str, Metric]) -> ComparedNumber:
    """The number that `name` means: `accuracy`, `macro_auroc`, `auroc` of two classes, or `auroc:mel` of one class.

    Args:
        metrics: the registered ones, found once for all numbers.
    Raises:
        MetricError: there is no such number, its class is missing, or its differences have no valid test.
    """
    plain, _, of_class = name.partition(CLASS_MARK)
    for metric in metrics.values():
        if plain in [key for _, key in metric.averages] and not of_class:
            return ComparedNumber(name, metric, (plain, None), is_average=True)
        if plain not in (metric.key, metric.positive_key):
            continue
        if metric.basis == Basis.BINS:
            raise MetricError(
                f"A comparison needs a number whose differences can be tested. Got {name}, which is biased upward with "
                "few cases. Compare log_loss or brier."
            )
        if metric.is_overall and not of_class:
            return ComparedNumber(name, metric, (metric.key, None))
        if not metric.is_overall:
            return ComparedNumber(name, metric, (metric.key, _class_index(name, plain, of_class, cases)))
    hint = did_you_mean(plain, _all_names(metrics)) or "Name one that `chiron evaluate` shows."
    raise MetricError(f"A comparison is of a number that the evaluation has. Got {name}. {hint}")


def _class_index(name: str, plain: str, of_class: str, cases: Cases) -> int:
    if of_class in cases.classes:
        return cases.classes.index(of_class)
    if of_class:
        hint = did_you_mean(of_class, cases.classes)
        raise MetricError(f"The class must be one of {', '.join(cases.classes)}. Got {name}. {hint}".rstrip())
    if cases.positive_index is not None:
        return cases.positive_index
    raise MetricError(
        f"With {cases.num_classes} classes {plain} is asked of one of them. Got {name} alone. "
        f"Write {plain}{CLASS_MARK}{cases.classes[0]} for one class, or compare a mean over classes."
    )


def _all_names(metrics: Mapping[str, Metric]) -> list[str]:
    names: list[str] = []
    for metric in metrics.values():
        names += [metric.positive_key or metric.key, *(key for _, key in metric.averages)]
    return names
