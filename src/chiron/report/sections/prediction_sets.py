"""Prediction sets: the share of cases that was promised to be covered, and what these cases show."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, count, listed, percent
from chiron.report.sections.questions import FITTED_ON
from chiron.report.sections.section import Given, Section, estimates_table

Evaluation = Mapping[str, Any]

SCORES = {"lac": "LAC", "aps": "APS", "raps": "RAPS"}
COLUMNS = {
    "coverage": "Coverage",
    "mean_size": "Mean size",
    "empty": "Empty sets",
    "single": "One class",
    "full": "All classes",
}


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Coverage and sizes, together, by class and by the column that the promise is for; None without sets."""
    found = evaluation.get("conformal")
    if not found:
        return None
    sentences = [promise(found, case(evaluation))]
    if always := classes_always_in(found):
        sentences.append(
            f"Too few groups to fit: {listed(always)} always {'enters' if len(always) == 1 else 'enter'} the set."
        )
    if not found["found"]:
        sentences.append(f"No sets here: {found['note']}.")
        return Section("sets", "Prediction sets", sentences)
    parts = {"All": found["found"]["overall"], **found["found"]["per_class"]}
    parts |= {f"{found['by']} = {name}": it for name, it in found["found"]["per_value"].items()}
    rows: list[tuple[str, str, list[Given]]] = [(name, "", [it[key] for key in COLUMNS]) for name, it in parts.items()]
    caption = "All cases, and those of each reference class. Coverage: share of sets that hold the reference class."
    return Section("sets", "Prediction sets", sentences, [estimates_table(caption, list(COLUMNS.values()), rows)])


def promise(found: Mapping[str, Any], of: str) -> str:
    """What was promised, for whom, and what kind of promise it is."""
    whom = {"all": "", "class": " of each class"}.get(found["by"], f" of each value of {found['by']}")
    least = percent(1 - found["alpha"], 0)
    if found["fitted_on"] == "cross_fit":  # Barber et al. 2021: CV+
        least += f" is aimed at; cross-fitting guarantees {percent(max(1 - 2 * found['alpha'], 0), 0)}"
    groups = ", ".join(f"{name} {count(n)}" for name, n in found["num_groups"].items())
    return (
        f"A set ({SCORES[found['score']]}) holds the reference class of at least {least} of {of}s{whom}, on average "
        f"over such fits, if they come from where it was fitted: {FITTED_ON[found['fitted_on']]} (groups: {groups})."
    )


def classes_always_in(found: Mapping[str, Any]) -> list[str]:
    """Classes, or values of the column, that had too few groups for a quantile."""
    return [name for name, quantile in found["quantiles"].items() if quantile is None]
