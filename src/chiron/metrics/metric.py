"""`Metric`: what a leaf of `chiron.metrics.scores` says about itself, and how all of them are found."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from chiron.core.registry import leaf_names, load_leaf
from chiron.metrics.confusion import Counts
from chiron.metrics.ranking import RankedCounts

SCORES_PACKAGE = "chiron.metrics.scores"


class Family(StrEnum):
    """What decides the interval; `chiron.metrics.intervals.table` maps each family to its method."""

    PROPORTION = "proportion"  # a share of rows, or a rising function of one
    RATIO = "ratio"  # of two proportions of different images
    AUROC = "auroc"
    PRECISION_MEAN = "precision_mean"  # a mean over the positive images of shares
    RESAMPLED = "resampled"  # a mean of losses or a nonlinear function of the data
    CALIBRATION = "calibration"


class Basis(StrEnum):
    """What `Metric.compute` is given and what it returns."""

    ROWS = "rows"  # Cases -> one value a row; the metric is their mean
    COUNTS = "counts"  # Counts one-vs-rest -> (numerator, denominator) of each class
    CONFUSION = "confusion"  # confusion matrices -> one value a matrix
    RANKS = "ranks"  # RankedCounts of one class -> one value a resample
    BINS = "bins"  # Cases -> one value


class Need(StrEnum):
    """What must be there for a one-vs-rest value to be defined."""

    CLASS = "class"
    REST = "rest"
    PREDICTED = "predicted"
    PREDICTED_REST = "predicted_rest"
    FALSE_ALARM = "false_alarm"
    RIGHT_DISMISSAL = "right_dismissal"

    def is_met(self, counts: Counts) -> np.ndarray:
        """True where the counts hold what is needed."""
        present = {
            Need.CLASS: counts.tp + counts.fn,
            Need.REST: counts.fp + counts.tn,
            Need.PREDICTED: counts.tp + counts.fp,
            Need.PREDICTED_REST: counts.fn + counts.tn,
            Need.FALSE_ALARM: counts.fp,
            Need.RIGHT_DISMISSAL: counts.tn,
        }[self]
        return np.asarray(present > 0)

    def reason(self, name: str) -> str:
        """Why a value of class `name` is undefined when this is missing."""
        return {
            Need.CLASS: f"class {name!r} has no image here",
            Need.REST: f"every image here is of class {name!r}",
            Need.PREDICTED: f"the model never predicts {name!r}",
            Need.PREDICTED_REST: f"the model predicts {name!r} for every image",
            Need.FALSE_ALARM: f"no image of another class is called {name!r}, so that the ratio has no limit above",
            Need.RIGHT_DISMISSAL: f"every image of another class is called {name!r}, so that nothing is divided by",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: its name, where it is reported, what it needs and how it is computed.

    `averages` maps "macro" (mean over classes), "weighted" (by images of the class) and "micro" (of the summed counts)
    to the key of that average. An average that always equals another metric takes that metric's estimate through
    `same_as` (average key to metric key): computed once.
    `positive_key` is the key of the named positive class among the overall numbers of a two-class problem.
    `mean_of` names the metric whose mean over classes this one is, and `of_share` makes the metric of a share of rows,
    where it is not that share itself: both take the interval from there.
    `min_groups` raises the family's least number of groups a class for a reliable interval.
    `jump` says of a rank metric's counts why its value jumps between equal scores; None where it does not.
    `from_classes` is the least number of classes that it says something about; `ordinal` asks for classes in order.
    """

    key: str
    title: str
    direction: Literal["up", "down"]
    family: Family
    basis: Basis
    compute: Callable[..., Any]
    needs: tuple[Need, ...] = ()
    per_class: bool = False
    positive_key: str | None = None
    averages: tuple[tuple[Literal["macro", "weighted", "micro"], str], ...] = ()
    averages_from_classes: int = 2
    same_as: tuple[tuple[str, str], ...] = ()
    mean_of: str | None = None
    of_share: Callable[[float], float] | None = None
    lower_bound: float = 0.0
    upper_bound: float = 1.0
    min_groups: int = 0
    jump: Callable[[RankedCounts], str | None] | None = None
    from_classes: int = 2
    ordinal: bool = False

    @property
    def is_overall(self) -> bool:
        """True for a metric with one value for all classes together."""
        return self.basis in (Basis.ROWS, Basis.CONFUSION, Basis.BINS)

    def values(self, counts: Counts) -> Float[np.ndarray, "*batch"]:
        """One-vs-rest values of a metric on counts, NaN where something it needs is missing."""
        numerator, denominator = self.compute(counts)
        defined = np.asarray(denominator) > 0
        for need in self.needs:
            defined = defined & need.is_met(counts)
        return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=defined)


def metrics_for(num_classes: int, *, ordinal: bool = False) -> dict[str, Metric]:
    """The metrics that say something about so many classes, by name.

    Args:
        ordinal: the classes are in order, as grades are.
    """
    return {
        name: metric
        for name, metric in registered_metrics().items()
        if num_classes >= metric.from_classes and (ordinal or not metric.ordinal)
    }


@functools.cache  # finding the entry points of outside packages takes as long as many a number
def registered_metrics() -> dict[str, Metric]:
    """Every metric by its leaf's name, those of outside packages included; found once, not to be changed."""
    return {name: load_leaf(SCORES_PACKAGE, name, kind="metric").METRIC for name in leaf_names(SCORES_PACKAGE)}
