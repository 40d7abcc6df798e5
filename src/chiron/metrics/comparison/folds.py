"""These training methods, over folds: the number of each fold, then its mean; outputs of folds are never pooled.

Networks of different folds differ in the scale of their outputs, so a rank over all folds' outputs is no rank of any
network. Folds share most of their training images, so their numbers vary together; the correction accounts for that.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from chiron.core.errors import MetricError
from chiron.metrics.cases import check_cases
from chiron.metrics.comparison.compared_number import ComparedNumber, find_number
from chiron.metrics.comparison.contrast import ROUNDING
from chiron.metrics.comparison.finding import Finding, Levels, Tested, findings, or_none, without_numbers
from chiron.metrics.comparison.methods import Spread, t_limits, t_p_value
from chiron.metrics.comparison.models import reference_of
from chiron.metrics.metric import registered_metrics
from chiron.metrics.statistics import Statistics

FEWEST_FOLDS = 3


@dataclass(frozen=True)
class Fold:
    """The cases of one fold and what each method's networks, trained without them, make of them."""

    y_true: Int[np.ndarray, "n"]
    y_prob: Mapping[str, Sequence[Float[np.ndarray, "n classes"]]]
    groups: Sequence[Hashable] | None
    test_share: float | None = None  # cases of the fold over those that its networks were trained on


@dataclass(frozen=True, kw_only=True)
class FoldComparison:
    """A finding about two methods, and the number of each fold, averaged over seeds where a fold has several."""

    finding: Finding
    first_values: list[float | None]
    second_values: list[float | None]
    error: float | None
    num_images: int


def corrected_spread(differences: Sequence[float], test_share: float) -> Spread:
    """The error of the mean of paired differences over folds: (1 / K + test / train) times their variance.

    Args:
        differences: one a fold, at least two.
        test_share: cases of a fold over the cases that its network was trained on: those that taught its weights.
            Cases that only chose an epoch do not count. Counted, they would make the share and with it the error
            smaller, although networks that share them are no more alike for it.
    Source: Nadeau and Bengio 2003, doi:10.1023/A:1024068626366, section 3 and equation 9.
    Example:
        >>> round(corrected_spread([0.01, 0.02, 0.03], 1 / 2).error, 6)
        0.009129
    """
    count = len(differences)
    variance = (1 / count + test_share) * float(np.var(differences, ddof=1))
    return Spread(float(np.sqrt(variance)), count - 1)


def compare_folds(
    folds: Sequence[Fold],
    *,
    classes: Sequence[str],
    positive: str | None,
    metrics: Sequence[str],
    reference: str | None = None,
    margin: float | None = None,
    untested: Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> list[FoldComparison]:
    """Every method against the reference in every number, over the folds of one partition.

    A fold that does not say its `test_share` is taken to be tested by networks that were trained on all other folds.

    Args:
        untested: as for `compare_methods`.
    Raises:
        MetricError: the folds are not of the same methods, or an argument is not what it must be.
    """
    methods = list(folds[0].y_prob) if folds else []
    if len(methods) < 2 or any(list(fold.y_prob) != methods for fold in folds):
        raise MetricError(
            f"Every fold needs the same two or more methods. Got {[list(fold.y_prob) for fold in folds]}. "
            "Give each method one run a fold."
        )
    reference = reference_of(reference, methods)
    asked = dict.fromkeys(metrics)
    values = {name: _values(folds, name, classes, positive) for name in asked}
    pairs = [(name, other) for name in asked for other in methods if other != reference]
    share = _test_share(folds)
    family = [_tested(values[name], reference, other, share) for name, other in pairs]
    without = [
        without_numbers(of_one.number, reference, other, of_one.mean(reference), reason)
        for of_one in values.values()
        for other, reason in (untested or {}).items()
    ]
    size = len(pairs) + len(without)  # folds are too few to be resampled, so the family's intervals are Bonferroni's
    levels = Levels(confidence, 1 - (1 - confidence) / size, 1 - 2 * (1 - confidence) / size)
    told = findings([*(tested for tested, _ in family), *without], levels, margin)
    num_images = sum(len(fold.y_true) for fold in folds)
    found = [
        FoldComparison(
            finding=finding,
            first_values=values[name].plain(reference),
            second_values=values[name].plain(other),
            error=None if np.isnan(spread.error) else spread.error,
            num_images=num_images,
        )
        for finding, (name, other), (_, spread) in zip(told[: len(pairs)], pairs, family, strict=True)
    ]
    return found + [
        FoldComparison(finding=finding, first_values=[], second_values=[], error=None, num_images=num_images)
        for finding in told[len(pairs) :]
    ]


@dataclass(frozen=True)
class _Values:
    number: ComparedNumber
    of_method: Mapping[str, list[float]]  # one a fold, on the scale of the differences

    def mean(self, method: str) -> float:
        """The number of a method over all folds."""
        return self.number.off_scale(float(np.mean(self.of_method[method])))

    def plain(self, method: str) -> list[float | None]:
        """The number of each fold, null where it is undefined."""
        return [or_none(self.number.off_scale(value)) for value in self.of_method[method]]


def _values(folds: Sequence[Fold], name: str, classes: Sequence[str], positive: str | None) -> _Values:
    of_method: dict[str, list[float]] = {method: [] for method in folds[0].y_prob}
    known = registered_metrics()
    first = next(iter(folds[0].y_prob.values()))[0]
    number = find_number(
        name, check_cases(folds[0].y_true, first, classes=classes, positive=positive, groups=folds[0].groups), known
    )
    for fold in folds:
        for method, of_seeds in fold.y_prob.items():
            of_seed = []
            for y_prob in of_seeds:
                cases = check_cases(fold.y_true, y_prob, classes=classes, positive=positive, groups=fold.groups)
                value = Statistics(cases, [number.metric]).of_data()[number.key]
                of_seed.append(float(number.on_scale(value)[0]))
            of_method[method].append(float(np.mean(of_seed)))
    return _Values(number, of_method)


def _test_share(folds: Sequence[Fold]) -> float:
    sizes = np.array([len(fold.y_true) for fold in folds], dtype=np.float64)
    others = sizes.sum() - sizes
    given = [fold.test_share for fold in folds]
    shares = [
        size / other if share is None and other > 0 else np.inf if share is None else share
        for size, other, share in zip(sizes, others, given, strict=True)
    ]
    return float(np.mean(shares))


def _tested(values: _Values, first: str, second: str, share: float) -> tuple[Tested, Spread]:
    with np.errstate(invalid="ignore"):  # two logs of 0
        differences = np.array(values.of_method[second]) - np.array(values.of_method[first])
    name, reason = values.number.name, None
    undefined = int((~np.isfinite(differences)).sum())
    if undefined:
        differences = np.full(len(differences), np.nan)
        reason = f"{name} is not defined in {undefined} of {len(differences)} folds"
    elif len(differences) < FEWEST_FOLDS:
        reason = f"a test over folds needs at least {FEWEST_FOLDS}, and there are {len(differences)}"
    elif np.ptp(differences) <= ROUNDING:
        same = abs(differences[0]) <= ROUNDING
        reason = f"the methods {'are equal' if same else 'differ by the same'} in this number in every fold"
    spread = Spread(np.nan, np.nan) if reason else corrected_spread(differences.tolist(), share)
    test = f"t over folds{', log scale' if values.number.is_ratio else ''} (Nadeau-Bengio)"
    tested = Tested(
        number=values.number,
        first=first,
        second=second,
        values=(values.mean(first), values.mean(second)),
        difference=float(differences.mean()),
        limits=lambda confidence: t_limits(float(differences.mean()), spread, confidence),
        p_value=t_p_value(float(differences.mean()), spread),
        test=test,
        method=test,
        note=reason,
    )
    return tested, spread
