"""`evaluate_multi_label`: every number of predictions where an image can have several classes or none.

Each class is a two-class question of its own, asked of the images that were assessed for it, by the machinery of
`evaluation.py`. Means over classes are resampled by groups, so that all labels of an image stay together.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from chiron.core.errors import MetricError
from chiron.metrics.cases import Cases, number_groups
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.estimator import Estimator
from chiron.metrics.evaluation import Evaluation, calibration_of, ece_estimate, require_settings, roc_of
from chiron.metrics.intervals.average import average_interval
from chiron.metrics.intervals.bootstrap import bootstrap_interval
from chiron.metrics.intervals.proportion import ShareMethod, proportion_interval
from chiron.metrics.intervals.table import RULES, Rule, region_note, requested_methods, rule_for
from chiron.metrics.metric import Family, Metric, metrics_for

THRESHOLD = 0.5
AVERAGED = (
    "auroc",
    "partial_auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "f1",
)  # over classes that have both values
MICRO = ("auroc", "precision", "sensitivity", "f1")  # of all assessed labels together, whatever their class
OF_TWO = ("brier", "kappa", "mcc")  # reported of each class as of a two-class problem
_PRESENT = 0  # the place of the class in each two-class question: outputs of exactly 0.5 then count as present


@dataclass(frozen=True)
class _Question:
    """Present or absent: one class of its assessed images, or all assessed labels together; and the numbers of it."""

    name: str
    estimator: Estimator

    @property
    def cases(self) -> Cases:
        return self.estimator.cases

    @property
    def present(self) -> Bool[np.ndarray, "assessed"]:
        return self.cases.y_true == _PRESENT

    @property
    def has_both(self) -> bool:
        return 0 < int(self.present.sum()) < self.cases.num_images


def evaluate_multi_label(
    y_true: Float[np.ndarray, "n classes"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    classes: Sequence[str],
    groups: Sequence[Hashable] | None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    methods: Mapping[str, str] | None = None,
) -> Evaluation:
    """Metrics a class on the images assessed for it, their means over classes, and exact agreement.

    A class is called present at an output of 0.5 and more. A class without an image on one side has null values with
    the reason and is left out of the means. The order of the rows does not change any number.

    Args:
        y_true: 1 present, 0 absent, NaN not assessed.
        y_prob: probability of every class, each on its own.
        classes: the fixed label list.
        groups: one id an image, as for `evaluate`.
        num_resamples: of the cluster bootstrap and of the classes' consistency bands.
        methods: intervals in the place of the defaults, as for `evaluate`.
    Raises:
        MetricError: an argument is not what it must be.
    """
    require_settings(num_resamples, confidence)
    y_true, y_prob, names = _checked(y_true, y_prob, classes)
    index = number_groups(groups, len(y_true)) if groups is not None else _number_rows(y_true, y_prob, names)
    whole = _Whole(y_true, y_prob, index, groups is not None, confidence, requested_methods(methods))
    settings = {"num_resamples": num_resamples, "confidence": confidence, "seed": seed}
    known = ~np.isnan(y_true)
    asked = {name: whole.ask(name, known[:, k], k, **settings) for k, name in enumerate(names) if known[:, k].any()}
    pooled = whole.ask_all(**settings)
    calibration = calibration_of(pooled.cases, num_resamples, seed, with_band=False)  # an image stands in it repeatedly
    return Evaluation(
        num_images=len(y_true),
        num_groups=int(index.max()) + 1,
        classes=list(names),
        positive_class=None,
        confidence_level=confidence,
        num_resamples=num_resamples,
        class_counts={name: _counts(asked.get(name)) for name in names},
        baselines={"constant": whole.constant_answer(names)},
        overall=_overall(names, asked, whole, pooled, calibration),
        per_class={name: _of_class(name, asked.get(name), settings) for name in names},
        confusion_matrix={"labels": list(names), "by_class": {name: _table(asked.get(name)) for name in names}},
        calibration=calibration,
        curves={"roc": {name: _curve(asked.get(name)) for name in names}},
        kind="multi_label",
    )


def _checked(
    y_true: np.ndarray, y_prob: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    names = tuple(classes)
    y_true, y_prob = np.asarray(y_true, dtype=np.float64), np.asarray(y_prob, dtype=np.float64)
    if not names or len(set(names)) != len(names):
        raise MetricError(f"The label list must name different classes. Got {list(names)}. Mend the list.")
    if y_true.ndim != 2 or y_true.shape != y_prob.shape or y_true.shape[1] != len(names) or not len(y_true):
        raise MetricError(
            f"y_true and y_prob must have one row an image and one column a class of {len(names)}. "
            f"Got {y_true.shape} and {y_prob.shape}. Give every class of the label list a column."
        )
    if not (np.isnan(y_true) | (y_true == 0) | (y_true == 1)).all():
        raise MetricError("Every label must be 1, 0 or NaN. Got others. Say first what uncertain labels count as.")
    if not ((y_prob >= 0) & (y_prob <= 1)).all():
        raise MetricError(
            "Every probability must lie in [0, 1]. Got others. Apply a sigmoid to logits and leave out failed rows."
        )
    if np.isnan(y_true).all():
        raise MetricError("Scoring needs assessed labels. Got none. Fill labels in.")
    return y_true, y_prob, names


def _number_rows(y_true: np.ndarray, y_prob: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Numbers of rows that depend on their content and not on their order."""
    by_name = sorted(range(len(names)), key=lambda k: names[k])
    order = np.lexsort((*y_prob[:, by_name].T, *np.nan_to_num(y_true[:, by_name], nan=-1).T))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number


def _counts(question: _Question | None) -> dict[str, object]:
    """Images and groups that show a class, among how many assessed ones."""
    if question is None:
        return {"images": 0, "groups": 0, "assessed": 0, "assessed_groups": 0, "prevalence": _not_assessed("Wilson")}
    every_row = np.ones(question.cases.num_images, dtype=bool)
    groups = question.cases.groups_among(question.present)
    return {
        "images": int(question.present.sum()),
        "groups": groups,
        "assessed": question.cases.num_images,
        "assessed_groups": question.cases.groups_among(every_row),
        "prevalence": question.estimator.proportion(question.present, every_row, groups),
    }


def _not_assessed(method: str) -> Estimate:
    return Estimate(None, None, None, method, 0, 0, 0, "no image was assessed for this class")


def _of_class(name: str, question: _Question | None, settings: dict[str, float]) -> dict[str, object]:
    """The metrics of one class against its absence; keys as for one class of several, and brier, kappa, mcc, ece."""
    metrics = metrics_for(2)
    reported = [metric for metric in metrics.values() if metric.per_class]
    counts = _counts(question)
    support = {key: counts[key] for key in ("images", "groups", "assessed", "assessed_groups")}
    if question is None:
        keys = [*(metric.key for metric in reported), *OF_TWO, "ece"]
        return {"support": support, **{key: _not_assessed(rule_for(metrics[key]).method) for key in keys}}
    calibration = calibration_of(question.cases, int(settings["num_resamples"]), int(settings["seed"]))
    return {
        "support": support,
        **{metric.key: question.estimator.one_class(metric, _PRESENT) for metric in reported},
        **{key: question.estimator.overall(metrics[key]) for key in OF_TWO},
        "ece": ece_estimate(question.cases, metrics["ece"], calibration),
    }


def _table(question: _Question | None) -> dict[str, int]:
    """The four cells of one class at 0.5."""
    if question is None:
        return dict.fromkeys(("tp", "fp", "fn", "tn"), 0)
    counts = question.estimator.counts
    return {kind: int(getattr(counts, kind)[_PRESENT]) for kind in ("tp", "fp", "fn", "tn")}


def _curve(question: _Question | None) -> dict[str, list] | None:
    return None if question is None else roc_of(question.present, question.cases.y_prob[:, _PRESENT])


def _overall(
    names: Sequence[str],
    asked: Mapping[str, _Question],
    whole: "_Whole",
    pooled: _Question,
    calibration: dict[str, object],
) -> dict[str, Estimate]:
    metrics = metrics_for(2)
    overall = {f"macro_{key}": _macro(metrics[key], names, asked, whole) for key in AVERAGED}
    for key in MICRO:
        overall[f"micro_{key}"] = pooled.estimator.one_class(metrics[key], _PRESENT)
    overall["exact_match"] = whole.exact_match()
    overall["macro_brier"] = _macro(metrics["brier"], names, asked, whole)
    overall["ece"] = ece_estimate(pooled.cases, metrics["ece"], calibration)
    return overall


def _macro(metric: Metric, names: Sequence[str], asked: Mapping[str, _Question], whole: "_Whole") -> Estimate:
    """The mean over the classes that have both values, resampled by groups; the others are named."""
    used = [question for question in asked.values() if question.has_both]
    rule = rule_for(metric, average=True)
    if not used:
        return whole.estimate(np.nan, Interval(None, None, rule.method), "no class has images with and without it")
    key = (metric.key, _PRESENT if metric.per_class else None)
    values, resampled, left_out = zip(*(question.estimator.resampled(key) for question in used), strict=True)
    of_class = [
        question.estimator.part_of_mean(metric, _PRESENT) if metric.per_class else question.estimator.overall(metric)
        for question in used
    ]
    one_sided = [name for name, question in asked.items() if not question.has_both]
    unassessed = [name for name in names if name not in asked]
    reasons = (("all assessed images say the same", one_sided), ("no image was assessed", unassessed))
    without = "; ".join(f"left out, as {reason}: {', '.join(left)}" for reason, left in reasons if left)
    smallest = min(min(question.estimator.groups_by_class) for question in used)
    if whole.requested.get(Family.RESAMPLED) or any(estimate.low is None for estimate in of_class):
        return whole.resampled(
            float(np.mean(values)),
            np.mean(resampled, axis=0),
            np.mean(left_out, axis=0),
            smallest=smallest,
            rule=rule,
            bounds=(metric.lower_bound, metric.upper_bound),
            note=without,
        )
    interval = average_interval(
        np.array(values),
        np.array([(estimate.low, estimate.high) for estimate in of_class]),
        np.stack(resampled),
        np.full(len(used), 1 / len(used)),
        method=rule.method,
    )
    region = region_note(rule, smallest, whole.rarest)
    return whole.estimate(float(np.mean(values)), interval, "; ".join(filter(None, (region, without))))


@dataclass(frozen=True)
class _Whole:
    """All images with all their labels, for what is not of one class."""

    y_true: Float[np.ndarray, "n classes"]
    y_prob: Float[np.ndarray, "n classes"]
    group_index: np.ndarray
    groups_given: bool
    confidence: float
    requested: Mapping[Family, str]

    def ask(self, name: str, rows: Bool[np.ndarray, "n"], column: int, **settings: float) -> _Question:
        """The question of one class, of the images that were assessed for it."""
        return self._ask(name, self.y_true[rows, column], self.y_prob[rows, column], self.group_index[rows], **settings)

    def ask_all(self, **settings: float) -> _Question:
        """The question of all assessed labels, class by class; a group then holds all labels of its images."""
        known = ~np.isnan(self.y_true).T
        groups = np.broadcast_to(self.group_index, known.shape)
        return self._ask("present", self.y_true.T[known], self.y_prob.T[known], groups[known], **settings)

    def _ask(
        self, name: str, y_true: np.ndarray, y_prob: np.ndarray, group_index: np.ndarray, **settings: float
    ) -> _Question:
        cases = Cases(
            y_true=(y_true != 1).astype(np.int64),
            y_prob=np.stack([y_prob, 1 - y_prob], axis=1),
            y_pred=(y_prob < THRESHOLD).astype(np.int64),
            group_index=group_index,
            num_groups=int(self.group_index.max()) + 1,  # of all images: resamples are the same for every class
            classes=(name, f"no {name}"),
            positive_index=_PRESENT,
            groups_given=self.groups_given,
        )
        estimator = Estimator(
            cases,
            metrics_for(2),
            num_resamples=int(settings["num_resamples"]),
            confidence=settings["confidence"],
            seed=int(settings["seed"]),
            num_rows=len(self.y_true),
            methods={str(family): method for family, method in self.requested.items()},
        )
        return _Question(name, estimator)

    def exact_match(self) -> Estimate:
        """The share of images whose every class is called rightly, among those with every class assessed."""
        return self._all_right((self.y_prob >= THRESHOLD).astype(np.float64))

    def constant_answer(self, names: Sequence[str]) -> dict[str, object]:
        """What the commoner value of every class, given every time, would score."""
        present, absent = (self.y_true == 1).sum(axis=0), (self.y_true == 0).sum(axis=0)
        answer = present > absent
        return {
            "present": [name for name, given in zip(names, answer, strict=True) if given],
            "exact_match": self._all_right(np.broadcast_to(answer.astype(np.float64), self.y_true.shape)),
        }

    def _all_right(self, y_pred: Float[np.ndarray, "n classes"]) -> Estimate:
        whole = ~np.isnan(self.y_true).any(axis=1)
        method = RULES[Family.PROPORTION].method
        if not whole.any():
            return self.estimate(np.nan, Interval(None, None, method), "no image has every class assessed", whole)
        right = (y_pred == self.y_true).all(axis=1)
        count: Callable[[np.ndarray], np.ndarray] = lambda rows: np.bincount(  # noqa: E731
            self.group_index[rows], minlength=int(self.group_index.max()) + 1
        )
        asked: ShareMethod = "clopper_pearson" if Family.PROPORTION in self.requested else "wilson"
        interval = proportion_interval(count(whole & right), count(whole), confidence=self.confidence, method=asked)
        unit = "groups counted" if self.groups_given else "images counted"
        note = region_note(RULES[Family.PROPORTION], int((count(whole) > 0).sum()), unit) or ""
        return self.estimate(float(right[whole].mean()), interval, note, whole)

    def resampled(
        self,
        value: float,
        resampled: Float[np.ndarray, "resamples"],
        left_out: Float[np.ndarray, "sets"],
        *,
        smallest: int,
        rule: Rule,
        bounds: tuple[float, float],
        note: str,
    ) -> Estimate:
        """An estimate with a bootstrap interval; `smallest` counts groups on the side that has fewest."""
        if np.isnan(value):
            return self.estimate(value, Interval(None, None, rule.method), note or "not defined for every class")
        single = int(self.group_index.max()) + 1 == len(self.group_index)
        interval = bootstrap_interval(
            value,
            resampled,
            left_out,
            degrees_of_freedom=smallest - 1,
            lower_bound=bounds[0],
            upper_bound=bounds[1],
            confidence=self.confidence,
            method="bootstrap" if single else "cluster bootstrap",
            requested=self.requested.get(Family.RESAMPLED),
        )
        region = region_note(rule, smallest, self.rarest)
        return self.estimate(value, interval, "; ".join(filter(None, (region, note))))

    @property
    def rarest(self) -> str:
        """What counts for the region of a mean over classes."""
        return f"{'groups' if self.groups_given else 'images'} on one side of the rarest class"

    def estimate(self, value: float, interval: Interval, note: str, rows: np.ndarray | None = None) -> Estimate:
        """An estimate over all images, or over `rows` of them."""
        index = self.group_index if rows is None else self.group_index[rows]
        notes = [text for text in (note, interval.note) if text]
        return Estimate(
            value=None if np.isnan(value) else float(value),
            low=interval.low,
            high=interval.high,
            method=interval.method if self.groups_given else f"{interval.method}; every image its own group",
            num_images=len(index),
            num_groups=len(np.unique(index)),
            note="; ".join(notes) or None,
        )
