"""`evaluate`: every number of one set of predictions, each with an interval that accounts for groups."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.core.errors import MetricError
from chiron.metrics.calibration import (
    bias_corrected_calibration_error,
    bin_edges,
    calibration_bins,
    consistency_band,
    expected_calibration_error,
)
from chiron.metrics.cases import Cases, check_cases
from chiron.metrics.confusion import confusion_matrix
from chiron.metrics.curves import roc_curve
from chiron.metrics.estimate import Estimate
from chiron.metrics.estimator import Estimator
from chiron.metrics.intervals.table import RULES
from chiron.metrics.metric import Family, Metric, metrics_for

FORMAT = 1
FEWEST_RESAMPLES = 100


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one evaluation; the fields are the keys of its JSON form."""

    num_images: int
    num_groups: int
    classes: list[str]
    positive_class: str | None
    confidence_level: float
    num_resamples: int
    class_counts: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    overall: dict[str, Estimate]
    per_class: dict[str, dict[str, Any]]
    confusion_matrix: dict[str, Any]
    calibration: dict[str, Any]
    curves: dict[str, dict[str, Any]]
    kind: Literal["single_label", "multi_label"] = "single_label"

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain JSON values: undefined numbers are null, with the reason in the estimate's note.

        The key `kind` stands only where an image can have several classes or none.
        """
        values = {"format": FORMAT, **asdict(self)}
        return values if self.kind == "multi_label" else {key: it for key, it in values.items() if key != "kind"}


def evaluate(
    y_true: Int[np.ndarray, "n"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    ordinal: bool = False,
    methods: Mapping[str, str] | None = None,
) -> Evaluation:
    """Every registered metric with its interval, per class and overall; confusion matrix, calibration and curves.

    The predicted class is the most probable one. A class without an image has null values with the reason; it never
    shifts the others. The order of the rows does not change any number.

    Args:
        y_true: class index of the reference standard in `classes`.
        y_prob: probability of every class; rows sum to 1.
        classes: the fixed label list.
        positive: name of the positive class of a two-class problem; None for more classes.
        groups: one id an image, equal for images that are not independent (same patient or lesion). None says that
            every image is its own group, and each interval's method then says so.
        num_resamples: of the cluster bootstrap and of the consistency band.
        confidence: level of all intervals.
        seed: names the random draws; the same seed gives the same limits.
        ordinal: the label list is in order, as grades are; weighted kappas are reported then.
        methods: intervals in the place of the defaults, by family of metrics, for example
            `{"proportion": "clopper_pearson", "auroc": "delong", "resampled": "percentile"}`; each estimate says so.
    Raises:
        MetricError: an argument is not what it must be.
    """
    require_settings(num_resamples, confidence)
    cases = check_cases(y_true, y_prob, classes=classes, positive=positive, groups=groups)
    metrics = metrics_for(cases.num_classes, ordinal=ordinal)
    settings: dict[str, Any] = {"num_resamples": num_resamples, "confidence": confidence, "seed": seed}
    estimator = Estimator(cases, metrics, **settings, methods=methods)
    calibration = calibration_of(cases, num_resamples, seed)
    class_counts = _class_counts(estimator)
    per_class = _per_class(estimator, metrics)
    return Evaluation(
        num_images=cases.num_images,
        num_groups=cases.num_groups,
        classes=list(cases.classes),
        positive_class=positive,
        confidence_level=confidence,
        num_resamples=num_resamples,
        class_counts=class_counts,
        baselines={"majority_class": _majority_class(cases, class_counts)},
        overall=_overall(estimator, metrics, per_class, calibration),
        per_class=per_class,
        confusion_matrix=_confusion(cases),
        calibration=calibration,
        curves={"roc": _roc_curves(cases)},
    )


def require_settings(num_resamples: int, confidence: float) -> None:
    """Stops at settings that give no interval.

    Raises:
        MetricError: too few resamples, or a level outside 0 to 1.
    """
    if num_resamples < FEWEST_RESAMPLES:
        raise MetricError(
            f"num_resamples must be at least {FEWEST_RESAMPLES}. Got {num_resamples}. "
            "Use 2000 for numbers that are kept."
        )
    if not 0 < confidence < 1:
        raise MetricError(f"confidence must lie between 0 and 1. Got {confidence}. Use 0.95 for 95 %.")


def _class_counts(estimator: Estimator) -> dict[str, dict[str, Any]]:
    cases = estimator.cases
    every_row = np.ones(cases.num_images, dtype=bool)
    return {
        name: {
            "images": int((cases.y_true == index).sum()),
            "groups": estimator.groups_by_class[index],
            "prevalence": estimator.proportion(cases.y_true == index, every_row, estimator.groups_by_class[index]),
        }
        for index, name in enumerate(cases.classes)
    }


def _majority_class(cases: Cases, class_counts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What answering the commonest class of these images every time would score."""
    name = max(cases.classes, key=lambda name: class_counts[name]["images"])  # the first of equal ones
    by_definition = Estimate(
        value=1 / cases.num_classes,
        low=None,
        high=None,
        method="by definition",
        num_images=cases.num_images,
        num_groups=cases.num_groups,
        note="one class is always right and the others never, whatever the data",
    )
    return {"class": name, "accuracy": class_counts[name]["prevalence"], "balanced_accuracy": by_definition}


def _per_class(estimator: Estimator, metrics: dict[str, Metric]) -> dict[str, dict[str, Any]]:
    cases = estimator.cases
    reported = [metric for metric in metrics.values() if metric.per_class]
    return {
        name: {
            "support": {"images": int((cases.y_true == index).sum()), "groups": estimator.groups_by_class[index]},
            **{metric.key: estimator.one_class(metric, index) for metric in reported},
        }
        for index, name in enumerate(cases.classes)
    }


def _overall(
    estimator: Estimator, metrics: dict[str, Metric], per_class: dict[str, dict[str, Any]], calibration: dict[str, Any]
) -> dict[str, Estimate]:
    cases = estimator.cases
    overall: dict[str, Estimate] = {}
    for metric in metrics.values():
        if metric.family == Family.CALIBRATION:
            overall[metric.key] = ece_estimate(cases, metric, calibration)
        elif metric.is_overall:
            overall[metric.key] = estimator.overall(metric)
    for metric in metrics.values():
        same = dict(metric.same_as)
        for _, key in metric.averages if cases.num_classes >= metric.averages_from_classes else ():
            overall[key] = overall[same[key]] if key in same else estimator.average(metric, key)
        if cases.positive_index is not None and metric.positive_key:
            of_class = per_class[cases.classes[cases.positive_index]]
            overall[metric.positive_key] = (
                of_class[metric.key] if metric.per_class else estimator.one_class(metric, cases.positive_index)
            )
    return overall


def ece_estimate(cases: Cases, metric: Metric, calibration: dict[str, Any]) -> Estimate:
    """The calibration error, which has a consistency band in the place of an interval."""
    if calibration["consistency_band"] is None:
        note = "no band of a calibrated model, which takes labels for independent: those of one image are not"
    else:
        low, high = calibration["consistency_band"]
        note = f"a perfectly calibrated model would show {low:.4f} to {high:.4f} at this number of images"
    return Estimate(
        value=float(metric.compute(cases)),
        low=None,
        high=None,
        method=RULES[Family.CALIBRATION].method,
        num_images=cases.num_images,
        num_groups=cases.groups_among(np.ones(cases.num_images, dtype=bool)),
        note=note,
    )


def calibration_of(cases: Cases, num_simulations: int, seed: int, *, with_band: bool = True) -> dict[str, Any]:
    """Calibration errors, the band of a calibrated model, and the bins of the reliability diagram.

    Args:
        with_band: False where cases are not independent of each other, which the band takes for granted.
    """
    confidence = cases.y_prob.max(axis=1)
    bins = calibration_bins(confidence, cases.y_pred == cases.y_true)
    band = consistency_band(confidence, num_simulations=num_simulations, seed=seed) if with_band else None
    unknown = np.full(len(bins.count), np.nan)
    edges = bin_edges()
    columns = zip(
        edges[:-1],
        edges[1:],
        bins.count,
        bins.confidence,
        bins.accuracy,
        band.accuracy_low if band else unknown,
        band.accuracy_high if band else unknown,
        strict=True,
    )
    names = ("low", "high", "count", "confidence", "accuracy", "band_low", "band_high")
    return {
        "ece": expected_calibration_error(bins),
        "ece_bias_corrected": bias_corrected_calibration_error(bins),
        "consistency_band": [band.ece_low, band.ece_high] if band else None,
        "bins": [dict(zip(names, map(_plain, column), strict=True)) for column in columns],
    }


def _plain(number: np.generic) -> float | int | None:
    """A JSON number; null for NaN and infinity."""
    value = number.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _confusion(cases: Cases) -> dict[str, list]:
    counts = confusion_matrix(cases.y_true, cases.y_pred, num_classes=cases.num_classes)
    return {"labels": list(cases.classes), "counts": counts.tolist()}


def _roc_curves(cases: Cases) -> dict[str, Any]:
    """One curve a class (two classes: the positive one alone); null for a class without images on one side."""
    drawn = range(cases.num_classes) if cases.positive_index is None else [cases.positive_index]
    curves: dict[str, Any] = {}
    for index in drawn:
        curves[cases.classes[index]] = roc_of(cases.y_true == index, cases.y_prob[:, index])
    return curves


def roc_of(of_class: Bool[np.ndarray, "n"], y_score: Float[np.ndarray, "n"]) -> dict[str, list] | None:
    """The curve of one class as plain values; None without images on one side."""
    if not 0 < of_class.sum() < len(of_class):
        return None
    curve = roc_curve(of_class, y_score)
    return {
        "fpr": curve.fpr.tolist(),
        "tpr": curve.tpr.tolist(),
        "threshold": [_plain(threshold) for threshold in curve.threshold],
    }
