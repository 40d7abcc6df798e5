"""`Contrast`: a weighted sum of one number over models scored on the same cases, with what the cases leave uncertain.

Weights -1 and 1 give the difference of two models, 1/S for each of S seeds that of two methods' means. Shares of the
same rows, AUROCs and all other numbers have a road each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from chiron.metrics.cases import Cases
from chiron.metrics.comparison.compared_number import ComparedNumber, Road
from chiron.metrics.comparison.mcnemar import (
    PairedShares,
    mcnemar_p,
    paired_shares,
    share_difference_limits,
    share_variance,
)
from chiron.metrics.comparison.paired_auroc import auroc_contrast
from chiron.metrics.comparison.resamples import PairedResamples
from chiron.metrics.intervals.bootstrap import LARGEST_UNDEFINED_SHARE, bca_limits

ROUNDING = 1e-12  # a spread below this is none
DIFFERENCE = (-1.0, 1.0)  # weights of the first and the second model

Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Contrast:
    """A sum of numbers; NaN and None, with the reason in `note`, where something is undefined.

    `error` is the standard error that comes from the cases alone, with its degrees of freedom.
    """

    value: float
    error: float
    degrees_of_freedom: int
    p_value: float
    test: str
    method: str
    limits: Callable[[float], Limits]
    shares: PairedShares | None = None
    note: str | None = None


def contrast(
    number: ComparedNumber, resamples: PairedResamples, weight_of: Mapping[str, float], *, exact: bool = False
) -> Contrast:
    """The sum of `weight_of` times the number of each model, by its default test; of ratios their logs.

    Args:
        weight_of: weight of each model that takes part, in order.
        exact: McNemar's exact test in place of mid-p.
    """
    values = [resamples.of_data(number, name) for name in weight_of]
    if not np.isfinite(values).all():
        state = "undefined, or 0, for a model" if number.is_ratio else "not defined for every model"
        reason = f"{number.name} is {state} here"
        return Contrast(np.nan, np.nan, 0, np.nan, "none", "none", _no_limits, note=reason)
    value = float(np.dot(values, list(weight_of.values())))
    if number.road == Road.MCNEMAR:
        return _of_shares(number, resamples, weight_of, value, exact=exact)
    if number.road == Road.DELONG:
        return _of_aurocs(number, resamples, weight_of)
    return _of_resamples(number, resamples, weight_of, value)


def _of_shares(
    number: ComparedNumber, resamples: PairedResamples, weight_of: Mapping[str, float], value: float, *, exact: bool
) -> Contrast:
    shared = resamples.paired.shared
    counted = number.successes(shared)[1]
    successes = [number.successes(resamples.paired.of_model[name])[0][counted] for name in weight_of]
    groups = shared.group_index[counted]
    change = np.einsum("m,mn->n", np.array(list(weight_of.values())), np.stack(successes))
    error, degrees = float(np.sqrt(share_variance(change, groups))), len(np.unique(groups)) - 1
    clustered = "clustered " if degrees + 1 < len(groups) else ""
    if tuple(weight_of.values()) != DIFFERENCE:
        return by_t(value, error, degrees, f"paired {clustered}shares, t")
    shares = paired_shares(successes[0], successes[1], groups)
    return Contrast(
        value,
        error,
        degrees,
        mcnemar_p(shares, exact=exact),
        test=f"{clustered}McNemar, {'exact' if exact else 'mid-p'}",
        method="Bonett-Price on effective numbers, t" if clustered else "Bonett-Price",
        limits=lambda confidence: share_difference_limits(shares, confidence=confidence),
        shares=shares,
    )


def _of_aurocs(number: ComparedNumber, resamples: PairedResamples, weight_of: Mapping[str, float]) -> Contrast:
    shared, index = resamples.paired.shared, number.key[1]
    assert index is not None  # an AUROC is of one class
    scores = [resamples.paired.of_model[name].y_prob[:, index] for name in weight_of]
    found = auroc_contrast(shared.y_true == index, scores, list(weight_of.values()), shared.group_index)
    error = float(np.sqrt(max(0.0, found.variance)))
    degrees = number.smallest(shared)[0] - 1
    return by_t(found.value, error, degrees, f"paired {'clustered ' if has_groups(shared) else ''}DeLong, t")


def _of_resamples(
    number: ComparedNumber, resamples: PairedResamples, weight_of: Mapping[str, float], value: float
) -> Contrast:
    shared = resamples.paired.shared
    drawn = resamples.drawn(number, weight_of)
    defined = drawn[np.isfinite(drawn)]
    degrees = number.smallest(shared)[0] - 1
    scale = ", log scale" if number.is_ratio else ""
    test = f"paired {'cluster ' if has_groups(shared) else ''}bootstrap's standard error{scale}, t"
    undefined = len(drawn) - len(defined)
    if undefined > LARGEST_UNDEFINED_SHARE * len(drawn):
        reason = f"{undefined} of {len(drawn)} resamples leave {number.name} undefined"
        return Contrast(value, np.nan, degrees, np.nan, test, test, _no_limits, note=reason)
    plain = by_t(value, float(defined.std(ddof=1)), degrees, test)
    if plain.note or plain.error <= ROUNDING:
        return plain
    left_out = resamples.left_out(number, weight_of)

    def limits(confidence: float) -> Limits:
        return bca_limits(value, defined, left_out, confidence=confidence) or plain.limits(confidence)

    has_bca = bca_limits(value, defined, left_out) is not None
    method = test.replace(f"'s standard error{scale}, t", f"{scale}, BCa") if has_bca else test
    return Contrast(value, plain.error, degrees, plain.p_value, test, method, limits)


def by_t(value: float, error: float, degrees_of_freedom: int, test: str) -> Contrast:
    """The test and the limits that a standard error gives.

    Args:
        error: NaN where it is unknown.
        test: what the test is called.
    """
    if np.isnan(error) or degrees_of_freedom < 1:
        reason = "fewer than two groups on a side"
        return Contrast(value, np.nan, degrees_of_freedom, np.nan, test, test, _no_limits, note=reason)
    if error <= ROUNDING:
        same = abs(value) <= ROUNDING
        reason = "the models are equal in this number for every case" if same else "no case shows how much it varies"
        return Contrast(value, 0.0, degrees_of_freedom, 1.0 if same else np.nan, test, test, _no_limits, note=reason)

    def limits(confidence: float) -> Limits:
        half = special.stdtrit(degrees_of_freedom, (1 + confidence) / 2) * error
        return float(value - half), float(value + half)

    p_value = float(2 * special.stdtr(degrees_of_freedom, -abs(value) / error))
    return Contrast(value, error, degrees_of_freedom, p_value, test, test, limits)


def has_groups(cases: Cases) -> bool:
    """Whether a group has several rows."""
    return cases.groups_among(np.ones(cases.num_images, dtype=bool)) < cases.num_images


def _no_limits(confidence: float) -> Limits:
    del confidence
    return None
