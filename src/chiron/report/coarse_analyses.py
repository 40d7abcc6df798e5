"""Subgroups, strata, readers and the worst case as they may leave a project: coarse counts, and no rate that tells few.

A rate is told where at least five of its images are right and at least five are wrong; of the parts of one attribute a
rate is withheld in none or in two at least, as a single one would follow from the others and the whole.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from chiron.report.coarse import FEW_IMAGES, FEWEST_IMAGES, SMALL_CELL, coarse, exact, withheld
from chiron.report.small_cells import FEWEST

KEYS = ("subgroups", "strata", "worst_case", "readers")
_RATES = ("sensitivity", "specificity", "sensitivity_worst", "specificity_worst")
_OF_RATES = ("difference", "p_value", "p_adjusted")  # of two raters: single answers could be worked out from them


def shareable_analyses(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an evaluation that speak of parts of the images, coarse or withheld."""
    told = {key: _coarse(numbers[key]) for key in KEYS if key in numbers}
    for entry in told.get("subgroups", ()):
        groups = entry.get("groups", {})
        for rate in ("sensitivity", "specificity", "observed_over_expected"):
            _withhold_two([group[rate] for group in groups.values()])
        for name, group in groups.items():
            for metric in group.get("difference_to_rest", {}):
                if group[metric]["value"] is None:
                    group["difference_to_rest"][metric] = withheld(SMALL_CELL)
                    start = f"{metric}, {name} against"
                    entry["cannot_be_excluded"] = [s for s in entry["cannot_be_excluded"] if not s.startswith(start)]
    for entry in told.get("strata", ()):
        for rates in _by_question(entry["groups"]):
            _withhold_two(rates)
    return told


def _coarse(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        if {"value", "low", "high", "method"} <= set(value):
            return _estimate(value, name)
        few = "model_only_right" in value and min(value["model_only_right"], value["reader_only_right"]) < FEWEST
        return {key: None if few and key in _OF_RATES else _coarse(it, key) for key, it in value.items()}
    if isinstance(value, list):
        return [_coarse(it) for it in value]
    return coarse(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _estimate(estimate: Mapping[str, Any], name: str) -> dict[str, Any]:
    if estimate["num_images"] < FEWEST_IMAGES:
        return withheld(FEW_IMAGES)
    if name in _RATES and estimate["value"] is not None:
        right = round(estimate["value"] * estimate["num_images"])
        if not FEWEST <= right <= estimate["num_images"] - FEWEST:
            return withheld(SMALL_CELL)
    return exact(estimate)


def _withhold_two(rates: list[dict[str, Any]]) -> None:
    """Where one of the parts has no rate, the next one has none either."""
    told = [rate for rate in rates if rate["value"] is not None]
    if len(rates) - len(told) == 1 and told:
        told[0].update(withheld(SMALL_CELL))


def _by_question(groups: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    for question in {name for group in groups.values() for name in group["questions"]}:
        for rate in ("sensitivity", "specificity", "observed_over_expected"):
            yield [group["questions"][question][rate] for group in groups.values()]
