"""These training methods: several seeds of each on the same cases, or one training for each fold.

A method's mean over seeds varies with the cases and with the seeds; a comparison that leaves out the seeds declares
winners that another seed would not confirm, the more so the more cases there are.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from chiron.metrics.comparison.compared_number import ComparedNumber, find_number
from chiron.metrics.comparison.contrast import ROUNDING, Contrast, contrast
from chiron.metrics.comparison.family import family_levels
from chiron.metrics.comparison.finding import Finding, Levels, Tested, findings, without_numbers
from chiron.metrics.comparison.models import reference_of
from chiron.metrics.comparison.paired import PairedCases, pair_cases
from chiron.metrics.comparison.resamples import PairedResamples
from chiron.metrics.comparison.verdict import Limits
from chiron.metrics.evaluation import require_settings
from chiron.metrics.intervals.table import region_note
from chiron.metrics.metric import registered_metrics

FEWEST_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class MethodComparison:
    """A finding about two methods: the number of each seed, how much seeds vary, and how much the cases leave open.

    Standard deviations and errors are on the scale of the difference.
    """

    finding: Finding
    first_values: list[float]
    second_values: list[float]
    first_seed_sd: float | None
    second_seed_sd: float | None
    case_error: float | None
    error: float | None
    degrees_of_freedom: float | None
    num_images: int
    num_groups: int


@dataclass(frozen=True)
class Spread:
    """A standard error with its degrees of freedom."""

    error: float
    degrees_of_freedom: float


def seeds_and_cases(
    case_variance: float, case_degrees: float, first: Sequence[float], second: Sequence[float]
) -> Spread:
    """The error of the difference of two methods' means over seeds: case variance + s_A^2 / S_A + s_B^2 / S_B.

    Args:
        case_variance: of the seed-averaged paired difference, from the cases alone.
        first, second: the number of each seed, at least two of each method.
    Source: degrees of freedom: Welch 1947, doi:10.1093/biomet/34.1-2.28; Satterthwaite 1946.
    """
    parts = [(case_variance, case_degrees)]
    parts += [(float(np.var(values, ddof=1)) / len(values), len(values) - 1) for values in (first, second)]
    total = sum(variance for variance, _ in parts)
    if total <= ROUNDING**2:
        return Spread(0.0, case_degrees)
    return Spread(float(np.sqrt(total)), total**2 / sum(variance**2 / degrees for variance, degrees in parts))


@dataclass(frozen=True)
class _Pair:
    """One number of one pair of methods."""

    number: ComparedNumber
    first: str
    second: str
    runs: Mapping[str, list[str]]
    contrast: Contrast
    values: Mapping[str, list[float]]

    @property
    def of_both(self) -> tuple[list[float], list[float]]:
        return self.values[self.first], self.values[self.second]

    @property
    def num_seeds(self) -> int:
        return min(len(values) for values in self.of_both)

    @property
    def spread(self) -> Spread:
        if self.num_seeds < 2 or np.isnan(self.contrast.error):
            return Spread(np.nan, np.nan)
        return seeds_and_cases(self.contrast.error**2, self.contrast.degrees_of_freedom, *self.of_both)


def compare_methods(
    y_true: Int[np.ndarray, "n"],
    y_prob: Mapping[str, Sequence[Float[np.ndarray, "n classes"]]],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    metrics: Sequence[str],
    reference: str | None = None,
    margin: float | None = None,
    untested: Mapping[str, str] | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[MethodComparison]:
    """Every method against the reference in every number: means over seeds, of which each needs three for a test.

    Args:
        y_prob: probabilities of each seed of each method, by the method's name; all for the rows of `y_true`.
        groups, metrics, reference, margin: as for `compare_models`.
        untested: further methods that a plan names and that have no numbers, with the reason. They are told after the
            others and count in the family.
    Raises:
        MetricError: an argument is not what it must be.
    """
    require_settings(num_resamples, confidence)
    reference = reference_of(reference, list(y_prob))
    runs = {method: [f"{method} {k}" for k in range(len(of_one))] for method, of_one in y_prob.items()}
    of_run = {name: prob for method, names in runs.items() for name, prob in zip(names, y_prob[method], strict=True)}
    paired = pair_cases(y_true, of_run, classes=classes, positive=positive, groups=groups)
    known = registered_metrics()
    numbers = [find_number(name, paired.shared, known) for name in dict.fromkeys(metrics)]
    resamples = PairedResamples(paired, [number.metric for number in numbers], num_resamples=num_resamples, seed=seed)
    pairs = [
        _pair(number, reference, other, runs, resamples) for number in numbers for other in y_prob if other != reference
    ]
    family = [_tested(pair, paired) for pair in pairs]
    without = [
        without_numbers(number, reference, other, number.off_scale(_mean(number, runs[reference], resamples)), reason)
        for number in numbers
        for other, reason in (untested or {}).items()
    ]
    levels = _levels(pairs, family, len(without), resamples, confidence, seed)
    told = findings([*family, *without], levels, margin)
    found = [_with_seeds(pair, finding, paired) for pair, finding in zip(pairs, told[: len(pairs)], strict=True)]
    return found + [_without_seeds(finding, paired) for finding in told[len(pairs) :]]


def _mean(number: ComparedNumber, names: Sequence[str], resamples: PairedResamples) -> float:
    return float(np.mean([resamples.of_data(number, name) for name in names]))


def _weights(runs: Mapping[str, list[str]], first: str, second: str) -> dict[str, float]:
    return {name: -1 / len(runs[first]) for name in runs[first]} | {
        name: 1 / len(runs[second]) for name in runs[second]
    }


def _pair(
    number: ComparedNumber, first: str, second: str, runs: Mapping[str, list[str]], resamples: PairedResamples
) -> _Pair:
    values = {method: [resamples.of_data(number, name) for name in runs[method]] for method in (first, second)}
    found = contrast(number, resamples, _weights(runs, first, second))
    return _Pair(number, first, second, runs, found, values)


def _levels(
    pairs: Sequence[_Pair],
    family: Sequence[Tested],
    num_without: int,
    resamples: PairedResamples,
    confidence: float,
    seed: int,
) -> Levels:
    """Draws of cases with draws of the methods' means over seeds on top; the reference's is the same for all pairs.

    Three seeds do not show how two numbers vary together, so each number has draws of its own: no family needs a higher
    level than one whose numbers do not.
    """
    tested = [(pair, it.p_value) for pair, it in zip(pairs, family, strict=True) if not it.identical]
    moving = [pair for pair, p_value in tested if not np.isnan(p_value)]
    drawn = []
    for pair in moving if len(tested) + num_without > 1 else []:
        of_cases = resamples.drawn(pair.number, _weights(pair.runs, pair.first, pair.second))
        of_seeds = [_seed_draws(pair, method, resamples.num_resamples, seed) for method in (pair.first, pair.second)]
        drawn.append(of_cases + of_seeds[1] - of_seeds[0])
    values = [pair.contrast.value for pair in moving]
    num_untested = len(tested) - len(moving) + num_without
    return family_levels(drawn, values, confidence=confidence, num_untested=num_untested)


def _seed_draws(pair: _Pair, method: str, count: int, seed: int) -> Float[np.ndarray, "resamples"]:
    place, letters = list(pair.runs).index(method), [*pair.number.name.encode()]
    normal = np.random.default_rng([seed, 7, place, *letters]).standard_normal(count)
    return normal * np.std(pair.values[method], ddof=1) / np.sqrt(len(pair.values[method]))


def _tested(pair: _Pair, paired: PairedCases) -> Tested:
    spread, shared = pair.spread, paired.shared
    few = None
    if pair.num_seeds < FEWEST_SEEDS:
        counts = " and ".join(str(len(values)) for values in pair.of_both)
        few = f"each method needs at least {FEWEST_SEEDS} seeds, and has {counts}"
    copied = [method for method in (pair.first, pair.second) if _has_copies(paired, pair.runs[method])]
    copies = f"runs of {' and '.join(copied)} give identical predictions, so they are not several seeds"
    region = region_note(pair.number.rule, *pair.number.smallest(shared))
    all_runs = [name for method in (pair.first, pair.second) for name in pair.runs[method]]
    undefined = pair.contrast.note if np.isnan(pair.contrast.error) else None
    identical = paired.identical(all_runs)
    stop = few or (copies if copied and not identical else None) or undefined
    scale = ", log scale" if pair.number.is_ratio else ""
    means = [pair.number.off_scale(float(np.mean(values))) for values in pair.of_both]
    return Tested(
        number=pair.number,
        first=pair.first,
        second=pair.second,
        values=(means[0], means[1]),
        difference=pair.contrast.value,
        limits=lambda confidence: None if stop else t_limits(pair.contrast.value, spread, confidence),
        p_value=np.nan if stop else 1.0 if identical else t_p_value(pair.contrast.value, spread),
        test=f"t of cases and seeds{scale} (Welch-Satterthwaite)",
        method=f"t of cases and seeds{scale}{'' if shared.groups_given else '; every image its own group'}",
        note="; ".join(note for note in (stop, region) if note) or None,
        identical=identical and not stop,
    )


def _has_copies(paired: PairedCases, names: Sequence[str]) -> bool:
    return any(paired.identical([one, other]) for k, one in enumerate(names) for other in names[:k])


def t_limits(value: float, spread: Spread, confidence: float) -> Limits:
    """Limits from a standard error; None without one."""
    if not spread.error > 0:
        return None
    half = special.stdtrit(spread.degrees_of_freedom, (1 + confidence) / 2) * spread.error
    return float(value - half), float(value + half)


def t_p_value(value: float, spread: Spread) -> float:
    """Two-sided p-value of a difference of zero; NaN without a standard error."""
    if not spread.error > 0:
        return float("nan")
    return float(2 * special.stdtr(spread.degrees_of_freedom, -abs(value) / spread.error))


def _with_seeds(pair: _Pair, finding: Finding, paired: PairedCases) -> MethodComparison:
    sds = [float(np.std(values, ddof=1)) if len(values) > 1 else None for values in pair.of_both]
    spread, shared = pair.spread, paired.shared
    known = not np.isnan(spread.error)
    return MethodComparison(
        finding=finding,
        first_values=[pair.number.off_scale(value) for value in pair.of_both[0]],
        second_values=[pair.number.off_scale(value) for value in pair.of_both[1]],
        first_seed_sd=sds[0],
        second_seed_sd=sds[1],
        case_error=None if np.isnan(pair.contrast.error) else pair.contrast.error,
        error=spread.error if known else None,
        degrees_of_freedom=float(spread.degrees_of_freedom) if known else None,
        num_images=shared.num_images,
        num_groups=shared.groups_among(np.ones(shared.num_images, dtype=bool)),
    )


def _without_seeds(finding: Finding, paired: PairedCases) -> MethodComparison:
    """A comparison of the plan that has no numbers."""
    shared = paired.shared
    return MethodComparison(
        finding=finding,
        first_values=[],
        second_values=[],
        first_seed_sd=None,
        second_seed_sd=None,
        case_error=None,
        error=None,
        degrees_of_freedom=None,
        num_images=shared.num_images,
        num_groups=shared.groups_among(np.ones(shared.num_images, dtype=bool)),
    )
