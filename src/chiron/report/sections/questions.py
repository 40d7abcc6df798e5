"""Clinical questions: what yes and no at the frozen threshold are worth, and whether the threshold kept its promise."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    case,
    count,
    defined,
    estimate_text,
    has_interval,
    listed,
    number,
    percent,
)
from chiron.report.sections.section import Given, Row, Section, Table, estimates_table
from chiron.report.sentences import thousandths_of
from chiron.report.words import word

Evaluation = Mapping[str, Any]
Question = Mapping[str, Any]

SHOWN = (
    *("sensitivity", "specificity", "ppv", "npv"),
    *("positive_likelihood_ratio", "negative_likelihood_ratio", "auroc"),
)
OF_SINGLE_NETWORKS = ", of each network by itself; of their mean, which answers, it is not proven"
BENEFITS = ("model", "treat_all", "over_default")
KINDS = ("found", "missed", "false_alarms", "rightly_negative")
FITTED_ON = {
    "cal": "cal",
    "cross_fit": "held-out folds",
    "reuse_val": "val, which also chose the network",
    "other_data": "other data than the training's",
}
PROMISES = {
    "point": "the sensitivity reached there, without a promise for others",
    "expected": "on average over such thresholds",
    "guaranteed": "with 95 % confidence",
    "youden": "none: the largest sum of sensitivity and specificity there",
}


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """All questions side by side; None without any."""
    questions = evaluation.get("questions") or {}
    if not questions:
        return None
    tables = [_rates(evaluation, questions)]
    if thresholds := {name: it for name, it in questions.items() if it["threshold"]}:
        tables.append(_thresholds(thresholds))
    tables.append(_counts(evaluation, questions))
    if stated := {name: it["at_prevalence"] for name, it in questions.items() if it.get("at_prevalence")}:
        tables.append(_at_prevalence(stated))
    if benefits := {name: points for name, it in questions.items() if (points := _benefit_where_stated(it))}:
        tables.append(_net_benefit(benefits))
    return Section(
        "decisions",
        "Questions and thresholds",
        [
            "The score of a question is the sum of the probabilities of its classes. Its threshold was frozen before "
            f"these {case(evaluation)}s were scored; where there is none, the answer is yes when the most probable "
            "class is one of them."
        ],
        tables,
        ["decision_curve"],
    )


def _at_prevalence(stated: Mapping[str, Any]) -> Table:
    """PPV and NPV where the condition is rarer or commoner than here."""
    rows = [
        (name, f"at {percent(it['prevalence'])}" + ", as stated" * it["stated"], [it["ppv"], it["npv"]])
        for name, found in stated.items()
        for it in found
    ]
    caption = "PPV and NPV at other prevalences. Sensitivity and specificity are taken to carry over."
    return estimates_table(caption, ["PPV", "NPV"], rows, first="Question")


def _benefit_where_stated(question: Question) -> list[Mapping[str, Any]]:
    """The decision curve at the stated prevalence; empty without one."""
    curves = question.get("net_benefit_at_prevalence") or []
    return next((curve["points"] for curve in curves if curve["stated"]), [])


def _net_benefit(benefits: Mapping[str, list[Mapping[str, Any]]]) -> Table:
    """The decision curve in numbers where the classifier is meant to be used."""
    rows = [
        (
            name,
            f"acting from {percent(point['threshold'], 0)}",
            [point[key] for key in BENEFITS],
        )
        for name, points in benefits.items()
        for point in points
    ]
    caption = "Net benefit at the stated prevalence. Sensitivity and specificity are taken to carry over."
    columns = ["Model", "Acting on all", "Model, over the better of all and none"]
    return estimates_table(caption, columns, rows, first="Question")


def _rates(evaluation: Evaluation, questions: Mapping[str, Question]) -> Table:
    keys = [key for key in SHOWN if any(key in it for it in questions.values())]
    rows = [
        (name, " + ".join(it["classes"]) if it["classes"] != [name] else "", [it.get(key) for key in keys])
        for name, it in questions.items()
    ]
    here = listed([f"{name} {_share(it)}" for name, it in questions.items()])
    return estimates_table(
        f"What an answer is worth in these {case(evaluation)}s. PPV and NPV hold at their prevalence ({here}).",
        [word(key).name for key in keys],
        rows,
        first="Question",
    )


def _share(question: Question) -> str:
    value = question["prevalence"]
    return percent(value) if isinstance(value, float | int) else str(value)


def _thresholds(questions: Mapping[str, Question]) -> Table:
    rows: list[tuple[str, str, list[Given]]] = []
    for name, it in questions.items():
        threshold = it["threshold"]
        wanted = threshold["sensitivity"]
        cells: list[Given] = [
            _limits_of(threshold),
            promise_of(threshold) if wanted is None else f"≥ {number(wanted, 2)} {promise_of(threshold)}",
            found_when_fitted(threshold),
            it.get("sensitivity"),
        ]
        rows.append((name, f"fitted on {FITTED_ON.get(threshold['fitted_on'], threshold['fitted_on'])}", cells))
    return estimates_table(
        "Thresholds with their own interval: the sensitivity promised, reached where the threshold was fitted, and "
        "found here.",
        ["Threshold", "Sensitivity promised", "Reached when fitted", "Found here"],
        rows,
        first="Question",
    )


def _limits_of(threshold: Mapping[str, Any]) -> dict[str, Any]:
    """The threshold as an estimate, with the reason where it has no limits."""
    limits = {key: threshold[key] for key in ("value", "low", "high")}
    if None not in limits.values():
        return {**limits, "method": "order statistics", "note": None}
    positives = count(threshold["num_positive"])
    few = f"{positives} positives are too few for limits on both sides of the threshold"
    note = "no limits are known for the threshold of this rule" if threshold["rule"] == "youden" else few
    return {**limits, "method": "order statistics", "note": note}


def promise_of(threshold: Mapping[str, Any]) -> str:
    """What the rule promises; of cross-fitted networks each scored what it had not seen, and their mean decides."""
    promises = threshold["rule"] in ("expected", "guaranteed")
    return PROMISES[threshold["rule"]] + OF_SINGLE_NETWORKS * (promises and threshold["fitted_on"] == "cross_fit")


def found_when_fitted(threshold: Mapping[str, Any]) -> str:
    """How many positives reach the threshold where it was fitted, as "k of n"."""
    return f"{count(threshold['num_found'])} of {count(threshold['num_positive'])}"


def _counts(evaluation: Evaluation, questions: Mapping[str, Question]) -> Table:
    return Table(
        f"Numbers of {case(evaluation)}s.",
        ["Found", "Missed", "Falsely alarmed", "Rightly negative"],
        [Row(name, [count(it["counts"][kind]) for kind in KINDS]) for name, it in questions.items()],
        first="Question",
    )


def decision_sentence(evaluation: Evaluation, name: str, question: Question) -> str:
    """How the main question is decided, what was promised and what was found."""
    threshold = question["threshold"]
    of = "" if question["classes"] == [name] else f" ({' + '.join(question['classes'])})"
    text = f"{name}{of}: yes at a score of {number(threshold['value'])} and more"
    if threshold["sensitivity"] is None:
        text += ", the threshold with the largest sum of sensitivity and specificity"
    else:
        text += f", chosen for a sensitivity of {number(threshold['sensitivity'], 2)}"
        text += f" ({promise_of(threshold)})"
    text += f" on {FITTED_ON.get(threshold['fitted_on'], threshold['fitted_on'])}, where {found_when_fitted(threshold)}"
    text += (
        f" positives reach it. Found here: {estimate_text(question['sensitivity'], evaluation['confidence_level'])}."
    )
    return text


def promises_missed(evaluation: Evaluation) -> list[str]:
    """Questions whose sensitivity here is below the one promised, and whether the interval still allows it."""
    broken = []
    for name, it in (evaluation.get("questions") or {}).items():
        threshold, found = it["threshold"], it.get("sensitivity") or {}
        if not threshold or threshold["sensitivity"] is None or not defined(found):
            continue
        wanted = threshold["sensitivity"]
        if found["value"] < wanted:
            sure = has_interval(found) and found["high"] < wanted
            broken.append(
                f"{name}: {number(wanted, 2)} promised, "
                f"{estimate_text(found, evaluation['confidence_level'])} found"
                + ("" if sure else ", which the interval allows")
            )
    return broken


def headline(evaluation: Evaluation) -> dict[str, Any] | None:
    """The main question for the first page; None where no threshold was frozen."""
    questions = evaluation.get("questions") or {}
    frozen = [(name, it) for name, it in questions.items() if it["threshold"]]
    if not frozen:
        return None
    name, it = frozen[0]
    keys = ("sensitivity", "specificity", "ppv", "npv")
    return {
        "name": name,
        "companions": [{"name": f"{word(key).name}: {name}", "estimate": it[key]} for key in keys if key in it],
        "decision": decision_sentence(evaluation, name, it),
        "per_thousand": _per_thousand(it),
    }


def _per_thousand(question: Question) -> list[tuple[str, int]]:
    """Whole numbers; where counts were made coarse those that were made before, or none."""
    told = question["per_1000"]
    if told is None or isinstance(told, list):
        return told or []
    return thousandths_of([question["counts"][kind] for kind in KINDS])
