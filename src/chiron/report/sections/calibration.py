"""Calibration: what was fitted on what, what that changed, and whether probabilities are right in level and spread."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    Estimate,
    case,
    count,
    defined,
    estimate_text,
    has_interval,
    listed,
    percent,
    plural,
)
from chiron.report.sections.section import Given, Section, Table, estimates_table
from chiron.report.sentences import calibration as error_sentence
from chiron.report.sentences import recalibration
from chiron.report.words import word

Evaluation = Mapping[str, Any]
Fit = Mapping[str, Estimate]  # in_the_large, intercept and slope of one class

METHODS = {
    "temperature": "one temperature, which makes all probabilities bolder or more cautious together",
    "temperature_bias": "one temperature, and for each class an intercept that makes it commoner or rarer",
    "platt": "a slope, which makes probabilities bolder or more cautious, and an intercept, which shifts them",
    "vector": "a slope and an intercept for each class, which spread and shift its probabilities",
    "isotonic": "isotonic regression, a staircase that keeps the order of the outputs",
}
COLUMNS = {"in_the_large": "In the large", "intercept": "Intercept", "slope": "Slope"}
BEST = {"in_the_large": 0, "intercept": 0, "slope": 1}
MEANING = (
    "In the large: share that has the class minus the mean probability of it; 0 is best, above 0 the probabilities are "
    "too low on average, below 0 too high.",
    "Intercept: the same on the scale of log-odds; 0 is best. Slope: 1 is best; below 1 probabilities are too extreme "
    "(high ones too high, low ones too low), as after learning too closely; above 1 they are too cautious.",
)
BEFORE, BEFORE_AGAIN, AFTER = "the network's own, before", "as the bundle came, before", "as reported"


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """What was fitted, what the fit says in words, the diagram, and the numbers of each class before and after."""
    sentences, tables = [error_sentence(evaluation)], []
    again = evaluation.get("recalibration")
    if found := evaluation.get("calibration_fit"):
        told = [how_calibrated(found, case(evaluation)), *_in_words(evaluation, found["by_class"])]
        sentences = [text for text in (*told, recalibration(evaluation), *sentences) if text]
        tables.append(_table(found, BEFORE_AGAIN if again else BEFORE))
    if again and again.get("overall_before"):
        tables.append(_overall_table(evaluation["overall"], again["overall_before"]))
    return Section("calibration", "Calibration", sentences, tables, ["reliability"])


def how_calibrated(found: Mapping[str, Any], of: str) -> str:
    """What made the probabilities, and on what it was fitted."""
    if found["method"] == "none":
        return "The probabilities are the network's own; nothing was fitted to calibrate them."
    size = f"{plural(found['num_units'], of)} of {plural(found['num_groups'], 'group')}"
    where = {
        "cal": f"on {size} of the split cal, which trained nothing and chose no weights",
        "cross_fit": f"for each of {count(found.get('num_members', 1))} networks on the fold that it was not trained "
        f"on ({size} together); the mean of the networks answers",
        "other_data": f"on {size} of other data than the training's, which trained nothing and chose no weights",
        "reuse_val": f"on {size} of val, which also chose the weights, so that the fit looks better than it is",
    }
    return f"The network's outputs were calibrated by {METHODS[found['method']]}. Fitted {where[found['fitted_on']]}."


def _in_words(evaluation: Evaluation, by_class: Mapping[str, Fit]) -> list[str]:
    """Of one class both numbers in plain words; of several those that are off beyond chance."""
    if len(by_class) == 1:
        ((name, fit),) = by_class.items()
        prevalence = evaluation["class_counts"][name]["prevalence"]
        return [
            text
            for text in (
                _average(fit, prevalence, name, case(evaluation)),
                _spread(fit, evaluation["confidence_level"]),
            )
            if text
        ]
    off = {key: [name for name, fit in by_class.items() if _is_off(fit[key], BEST[key])] for key in BEST}
    told = {"in_the_large": "on average too high or too low", "slope": "too extreme or too cautious"}
    return [
        f"Beyond chance {words}: the probabilities of {listed(off[key])}."
        if off[key]
        else f"For no class are the probabilities {words} beyond chance."
        for key, words in told.items()
    ]


def _average(fit: Fit, prevalence: Estimate, name: str, of: str) -> str:
    gap = fit["in_the_large"]
    if not (defined(gap) and defined(prevalence)):
        return ""
    share = prevalence["value"]
    text = f"On average: {percent(share)} of these {of}s have {name}; the probabilities of it average"
    told = _beyond_chance(gap, BEST["in_the_large"], "too low", "too high")
    return f"{text} {percent(share - gap['value'])}, {told}."


def _spread(fit: Fit, confidence_level: float) -> str:
    slope = fit["slope"]
    if not defined(slope):
        return ""
    cautious = "too cautious: high ones could be higher, low ones lower"
    extreme = "too extreme: high ones are too high, low ones too low"
    told = _beyond_chance(slope, BEST["slope"], cautious, extreme)
    return f"In spread: a slope of {estimate_text(slope, confidence_level)} where 1 is best, {told}."


def _beyond_chance(it: Estimate, best: float, above: str, below: str) -> str:
    if not has_interval(it):
        return "without an interval that would say how sure this is"
    if _is_off(it, best):
        return f"so they are {above if it['value'] > best else below}"
    return "a difference that chance could explain; a real one is not excluded"


def _is_off(it: Estimate, best: float) -> bool:
    return has_interval(it) and not it["low"] <= best <= it["high"]


def _overall_table(after: Mapping[str, Any], before: Mapping[str, Any]) -> Table:
    """Errors of all probabilities together, by the decision that the bundle came with and by the one fitted again."""
    rows: list[tuple[str, str, list[Given]]] = [
        ("All classes", BEFORE_AGAIN, [before[key] for key in before]),
        ("All classes", AFTER, [after[key] for key in before]),
    ]
    caption = "Errors of the probabilities of the scored cases before and after the recalibration; 0 is best."
    return estimates_table(caption, [word(key).name for key in before], rows, first="Class")


def _table(found: Mapping[str, Any], before_words: str) -> Table:
    rows: list[tuple[str, str, list[Given]]] = []
    before = found.get("before") or {}
    for name, fit in found["by_class"].items():
        if name in before:
            rows.append((name, before_words, [before[name][key] for key in COLUMNS]))
        rows.append((name, AFTER if before else "", [fit[key] for key in COLUMNS]))
    caption = "Each class against the rest, on the scored cases."
    if before:
        caption = "Each class against the rest, on the scored cases, before and after calibration."
    return estimates_table(caption, list(COLUMNS.values()), rows, first="Class", below=MEANING)


def is_calibrated(evaluation: Evaluation) -> bool:
    """Whether something was fitted that turns outputs into probabilities."""
    return bool((evaluation.get("calibration_fit") or {}).get("method", "none") != "none")
