"""Subgroups: the numbers of each group of patients, how far each may lie from the rest, and one test an attribute.

A table of subgroups can show that a gap is there, and how large a gap it could have missed. It never shows that there
is none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.estimate import Estimate
from chiron.metrics.holm import holm
from chiron.metrics.intervals.auroc import placements
from chiron.metrics.intervals.proportion import design_effect

MIN_CASES = 10  # positives and negatives of a subgroup; below, counts only
METRICS = ("sensitivity", "specificity", "auroc")
NUM_DRAWS = 20_000
COUNTS_ONLY = f"counts only: fewer than {MIN_CASES} positives or negatives"


@dataclass(frozen=True)
class Attribute:
    """What divides the images: the names of its groups, and each row's place among them."""

    name: str
    groups: tuple[str, ...]
    index: Int[np.ndarray, "n"]
    planned: bool = False  # named before the results were seen; else what it shows is exploratory

    def rows(self, group: str) -> Bool[np.ndarray, "n"]:
        """The rows of one group."""
        return self.index == self.groups.index(group)


def subgroup_numbers(
    question: BinaryQuestion, attributes: Sequence[Attribute], *, seed: int = 0
) -> list[dict[str, Any]]:
    """One entry an attribute: the numbers of its groups, differences to the rest, and one test of interaction.

    Groups with at least ten positives and ten negatives (as their rest) are compared; the others have counts only.
    `p_value` asks whether sensitivity and specificity are the same in all compared groups; `p_adjusted` is that of
    `adjust_interactions` for this question alone. The order of the rows does not matter.

    Args:
        question: on all rows.
        seed: names the draws of the simultaneous intervals.
    """
    told = [_of_attribute(question, attribute, seed) for attribute in attributes]
    adjust_interactions(told)
    return told


def adjust_interactions(entries: Sequence[dict[str, Any]]) -> None:
    """Sets `p_adjusted` of every test to Holm's over the attributes, of all questions together.

    The planned attributes are one family: a test of it that cannot be made counts, and what was not planned does not
    make it weaker. All others are a second family, of the tests that could be made, as no plan says how many they are.
    Several questions ask the same attribute several times, so that the chance of a false alarm grows with them too.
    """
    for planned in (True, False):
        tests = [entry["interaction"] for entry in entries if entry["planned"] is planned]
        family = [test for test in tests if planned or test["p_value"] is not None]
        p_values = [np.nan if test["p_value"] is None else test["p_value"] for test in family]
        for test, adjusted in zip(family, holm(p_values)[0], strict=True):
            test["p_adjusted"] = None if np.isnan(adjusted) else adjusted


def part_numbers(question: BinaryQuestion, rows: Bool[np.ndarray, "n"]) -> dict[str, Any]:
    """Counts and all numbers of one part of the images, as plain values."""
    part = question.part(rows)
    positives = int(part.positive.sum())
    return {
        "images": len(part.positive),
        "groups": part.num_groups,
        "positives": positives,
        "negatives": len(part.positive) - positives,
        "sensitivity": asdict(part.sensitivity()),
        "specificity": asdict(part.specificity()),
        "auroc": asdict(part.auroc()),
        "observed_over_expected": asdict(part.observed_over_expected()),
    }


def gap_sentence(metric: str, difference: Estimate, group: str) -> str:
    """How large a gap these data leave possible; never that there is none."""
    assert difference.low is not None
    assert difference.high is not None
    largest = max(abs(difference.low), abs(difference.high))
    found = "" if difference.low <= 0 <= difference.high else "; the interval leaves out 0"
    return f"{metric}, {group} against the rest: a gap up to {largest:.3f} cannot be excluded{found}"


def _of_attribute(question: BinaryQuestion, attribute: Attribute, seed: int) -> dict[str, Any]:
    groups = {name: attribute.rows(name) for name in attribute.groups}
    groups = {name: rows for name, rows in groups.items() if rows.any()}
    compared = [name for name, rows in groups.items() if _has_enough(question, rows) and _has_enough(question, ~rows)]
    numbers = {name: part_numbers(question, rows) for name, rows in groups.items()}
    for name, entry in numbers.items():
        if not _has_enough(question, groups[name]):
            for key in (*METRICS, "observed_over_expected"):
                entry[key] |= {"value": None, "low": None, "high": None, "note": COUNTS_ONLY}
    gaps = []
    for metric in METRICS:
        differences = _differences(question, {name: groups[name] for name in compared}, metric, seed)
        for name, difference in differences.items():
            numbers[name].setdefault("difference_to_rest", {})[metric] = asdict(difference)
        bounded = {name: gap for name, gap in differences.items() if gap.low is not None and gap.high is not None}
        if bounded:
            widest = max(bounded, key=lambda name: max(abs(bounded[name].low or 0), abs(bounded[name].high or 0)))
            gaps.append(gap_sentence(metric, bounded[widest], widest))
    return {
        "attribute": attribute.name,
        "planned": attribute.planned,
        "groups": numbers,
        "interaction": _interaction(question, {name: groups[name] for name in compared}),
        "cannot_be_excluded": gaps,
    }


def _has_enough(question: BinaryQuestion, rows: Bool[np.ndarray, "n"]) -> bool:
    positives = int((question.positive & rows).sum())
    return min(positives, int(rows.sum()) - positives) >= MIN_CASES


def _has_enough_apart(question: BinaryQuestion, rows: Bool[np.ndarray, "n"]) -> bool:
    """Whether the positives come from enough groups of images that are not independent, and the negatives too."""
    sides = (question.positive & rows, ~question.positive & rows)
    return min(len(np.unique(question.group_index[side])) for side in sides) >= MIN_CASES


def _differences(
    question: BinaryQuestion, groups: dict[str, Bool[np.ndarray, "n"]], metric: str, seed: int
) -> dict[str, Estimate]:
    """Each group less all other images, with limits that hold for all groups of the attribute together.

    The limits join those of the two sides by Newcombe's square-and-add, so that a side without an error does not make
    them too narrow; each side is taken at the level that the largest of the correlated differences needs (max-t).
    Patients with images on both sides make the limits wider than they need be.

    Source: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10; Zou and
    Donner 2008, doi:10.1002/sim.3095; max-t: Hothorn, Bretz and Westfall 2008, doi:10.1002/bimj.200810425.
    """
    if not groups:
        return {}
    influence = np.stack([_influence(question, rows, metric) for rows in groups.values()])
    confidence = simultaneous_confidence(influence, confidence=question.confidence, seed=seed)
    return {name: _difference(question, rows, metric, confidence, len(groups)) for name, rows in groups.items()}


def _difference(
    question: BinaryQuestion, rows: Bool[np.ndarray, "n"], metric: str, confidence: float, num_compared: int
) -> Estimate:
    inside, rest = (getattr(question.part(side), metric)(confidence) for side in (rows, ~rows))
    value = inside.value - rest.value
    limits: tuple[float | None, float | None] = (None, None)
    if None not in (inside.low, inside.high, rest.low, rest.high):
        below = np.hypot(inside.value - inside.low, rest.high - rest.value)
        above = np.hypot(inside.high - inside.value, rest.value - rest.low)
        limits = (float(value - below), float(value + above))
    notes = dict.fromkeys(note for note in (inside.note, rest.note) if note)
    return Estimate(
        value=float(value),
        low=limits[0],
        high=limits[1],
        method=f"square-and-add, simultaneous over {num_compared} (max-t); of each side: {inside.method}",
        num_images=inside.num_images + rest.num_images,
        num_groups=inside.num_groups,
        num_positive_groups=inside.num_positive_groups,
        note="; ".join(notes) or None,
    )


def simultaneous_confidence(influence: Float[np.ndarray, "compared _groups"], *, confidence: float, seed: int) -> float:
    """The level at which each of several correlated intervals must be taken, so that all hold together.

    Args:
        influence: what each group of images adds to each estimate, about its mean. An estimate without any (no error in
            either part) counts as independent of the others.
    Example:
        >>> one = np.array([[1.0, -1.0, 2.0, -2.0]])
        >>> round(simultaneous_confidence(np.vstack([one, -one]), confidence=0.95, seed=0), 2)
        0.95
    """
    length = np.linalg.norm(influence, axis=1)
    still = length <= 0
    unit = influence / np.where(still, 1, length)[:, None]
    correlation = unit @ unit.T + np.diag(still.astype(float))
    values, axes = np.linalg.eigh(correlation)
    root = axes * np.sqrt(np.maximum(values, 0))
    draws = np.random.default_rng([seed, 3]).standard_normal((NUM_DRAWS, len(root))) @ root.T
    largest = float(np.quantile(np.abs(draws).max(axis=1), confidence))
    alone = float(special.ndtri((1 + confidence) / 2))
    return float(2 * special.ndtr(max(largest, alone)) - 1)  # drawn numbers may fall below what a single one needs


def _influence(question: BinaryQuestion, rows: Bool[np.ndarray, "n"], metric: str) -> Float[np.ndarray, "_groups"]:
    """What each group of images adds to (inside - rest), to first order."""
    return _of_part(question, rows, metric) - _of_part(question, ~rows, metric)


def _of_part(question: BinaryQuestion, rows: Bool[np.ndarray, "n"], metric: str) -> Float[np.ndarray, "_groups"]:
    num_groups = int(question.group_index.max()) + 1
    added = np.zeros(num_groups)
    if metric == "auroc":
        part = question.part(rows)
        placed = placements(part.positive, part.score, part.group_index)
        for shares, groups in (
            (placed.of_positives, placed.positive_groups),
            (placed.of_negatives, placed.negative_groups),
        ):
            added += np.bincount(groups, weights=(shares - placed.value) / len(shares), minlength=num_groups)
        return added
    counted = rows & (question.positive if metric == "sensitivity" else ~question.positive)
    right = (question.called == question.positive)[counted].astype(float)
    return np.bincount(question.group_index[counted], weights=(right - right.mean()) / len(right), minlength=num_groups)


def _interaction(question: BinaryQuestion, groups: dict[str, Bool[np.ndarray, "n"]]) -> dict[str, Any]:
    """Whether the rates of right answers of both sides are the same in all groups: one test, both sides together.

    Pearson's statistic with each group's number divided by its design effect, compared with an F distribution. How much
    patients differ has to be seen in each group, so one whose images are of few patients plays no part.

    Source: Rao and Scott 1987, Annals of Statistics 15:385-397; with the F distribution Thomas and Rao 1987,
    doi:10.1080/01621459.1987.10478476.
    """
    method = "sensitivity and specificity together, clustered chi-square (F)"
    groups = {name: rows for name, rows in groups.items() if _has_enough_apart(question, rows)}
    if len(groups) < 2:
        note = f"needs two groups with at least {MIN_CASES} positives and negatives that are independent"
        return {"p_value": None, "p_adjusted": None, "method": method, "note": note}
    statistic = sum(_heterogeneity(question, groups, side) for side in (question.positive, ~question.positive))
    compared = np.any(list(groups.values()), axis=0)
    freedom = 2 * (len(groups) - 1)
    rest = len(np.unique(question.group_index[compared])) - len(groups)
    p_value = float(special.fdtrc(freedom, max(rest, 1), statistic / freedom))
    return {"p_value": p_value, "p_adjusted": None, "method": method, "note": None}


def _heterogeneity(
    question: BinaryQuestion, groups: dict[str, Bool[np.ndarray, "n"]], side: Bool[np.ndarray, "n"]
) -> float:
    """Sum of squared deviations from the common share, each in standard errors under that share."""
    right = question.called == question.positive
    numbers, shares = [], []
    for rows in groups.values():
        totals, successes = question.by_group(rows & side), question.by_group(rows & side & right)
        totals, successes = totals[totals > 0], successes[totals > 0]
        effect = 1.0 if (totals == 1).all() else design_effect(successes, totals)
        numbers.append(totals.sum() / effect)
        shares.append(successes.sum() / totals.sum())
    common = float(np.average(shares, weights=numbers))
    if not 0 < common < 1:
        return 0.0  # all right, or all wrong, in every group
    return float((np.array(numbers) * (np.array(shares) - common) ** 2).sum() / (common * (1 - common)))
