"""These models on these cases: paired differences with training fixed, each by the test that suits its number."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from chiron.core.errors import MetricError
from chiron.metrics.comparison.compared_number import ComparedNumber, Road, find_number
from chiron.metrics.comparison.contrast import Contrast, contrast
from chiron.metrics.comparison.family import family_levels
from chiron.metrics.comparison.finding import Finding, Levels, Tested, findings
from chiron.metrics.comparison.paired import pair_cases
from chiron.metrics.comparison.resamples import PairedResamples
from chiron.metrics.evaluation import require_settings
from chiron.metrics.intervals.table import region_note
from chiron.metrics.metric import registered_metrics


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """A finding about two models, the rows it rests on, and for a share the rows that one model alone gets right."""

    finding: Finding
    num_images: int
    num_groups: int
    only_first_right: int | None
    only_second_right: int | None


@dataclass(frozen=True)
class _Pair:
    """One number of one pair of models."""

    number: ComparedNumber
    first: str
    second: str
    contrast: Contrast
    identical: bool

    @property
    def weight_of(self) -> dict[str, float]:
        return {self.first: -1.0, self.second: 1.0}


def compare_models(
    y_true: Int[np.ndarray, "n"],
    y_prob: Mapping[str, Float[np.ndarray, "n classes"]],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    metrics: Sequence[str],
    reference: str | None = None,
    margin: float | None = None,
    exact: bool = False,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[ModelComparison]:
    """Every model against the reference in every number; all of them are one family.

    Args:
        y_prob: probabilities of each model by its name, rows in the order of `y_true`.
        groups: one id an image, equal for images that are not independent; None: every image its own group.
        metrics: names of numbers, as `accuracy`, `macro_auroc`, or `auroc:mel` for one class.
        reference: the model that the others are compared with; the first one by default.
        margin: a difference that does not matter, declared beforehand.
        exact: McNemar's exact test in place of mid-p.
    Raises:
        MetricError: an argument is not what it must be.
    """
    require_settings(num_resamples, confidence)
    paired = pair_cases(y_true, y_prob, classes=classes, positive=positive, groups=groups)
    reference = reference_of(reference, list(y_prob))
    known = registered_metrics()
    numbers = [find_number(name, paired.shared, known) for name in dict.fromkeys(metrics)]
    resamples = PairedResamples(paired, [number.metric for number in numbers], num_resamples=num_resamples, seed=seed)
    pairs = [
        _Pair(
            number,
            reference,
            other,
            contrast(number, resamples, {reference: -1.0, other: 1.0}, exact=exact),
            paired.identical([reference, other]),
        )
        for number in numbers
        for other in y_prob
        if other != reference
    ]
    family = [_tested(pair, resamples) for pair in pairs]
    told = findings(family, _levels(pairs, resamples, confidence), margin)
    return [_with_rows(pair, finding, resamples) for pair, finding in zip(pairs, told, strict=True)]


def reference_of(reference: str | None, names: Sequence[str]) -> str:
    """The model or method that the others are compared with.

    Raises:
        MetricError: there is none of that name.
    """
    if reference is not None and reference not in names:
        raise MetricError(f"The reference must be one of {', '.join(names)}. Got {reference!r}. Name one of them.")
    return reference or names[0]


def _levels(pairs: Sequence[_Pair], resamples: PairedResamples, confidence: float) -> Levels:
    different = [pair for pair in pairs if not pair.identical]
    moving = [pair for pair in different if not np.isnan(pair.contrast.p_value)]
    drawn = [resamples.drawn(pair.number, pair.weight_of) for pair in moving] if len(different) > 1 else []
    values = [pair.contrast.value for pair in moving]
    return family_levels(drawn, values, confidence=confidence, num_untested=len(different) - len(moving))


def _tested(pair: _Pair, resamples: PairedResamples) -> Tested:
    number, found, shared = pair.number, pair.contrast, resamples.paired.shared
    first, second = (float(resamples.values[name][number.key][0]) for name in (pair.first, pair.second))
    region = region_note(number.rule, *number.smallest(shared))
    return Tested(
        number=number,
        first=pair.first,
        second=pair.second,
        values=(first, second),
        difference=found.value,
        limits=found.limits,
        p_value=1.0 if pair.identical else found.p_value,
        test=found.test,
        method=found.method if shared.groups_given else f"{found.method}; every image its own group",
        note="; ".join(note for note in (found.note, region) if note) or None,
        identical=pair.identical,
    )


def _with_rows(pair: _Pair, finding: Finding, resamples: PairedResamples) -> ModelComparison:
    shared, shares = resamples.paired.shared, pair.contrast.shares
    rows = np.ones(shared.num_images, dtype=bool)
    if pair.number.road == Road.MCNEMAR:
        rows = pair.number.successes(shared)[1]
    return ModelComparison(
        finding=finding,
        num_images=int(rows.sum()),
        num_groups=shared.groups_among(rows),
        only_first_right=shares.only_first if shares else None,
        only_second_right=shares.only_second if shares else None,
    )
