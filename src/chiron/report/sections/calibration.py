"""Calibration: what was done to the probabilities, and whether they are right on average, too bold or too timid."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, plural
from chiron.report.sections.questions import FITTED_ON
from chiron.report.sections.section import Given, Section, estimates_table
from chiron.report.sentences import calibration as error_sentence

Evaluation = Mapping[str, Any]

METHODS = {
    "temperature": "one temperature",
    "temperature_bias": "one temperature and an intercept for each class",
    "platt": "a slope and an intercept",
    "vector": "a slope and an intercept for each class",
    "isotonic": "isotonic regression",
}
COLUMNS = {"in_the_large": "In the large", "intercept": "Intercept", "slope": "Slope"}


def section(evaluation: Evaluation, context: ReportContext) -> Section:
    """The sentence, the diagram, and where there is one the fit of each class."""
    sentences, tables = [error_sentence(evaluation)], []
    if found := evaluation.get("calibration_fit"):
        sentences.insert(0, how_calibrated(found, case(evaluation)))
        rows: list[tuple[str, str, list[Given]]] = [
            (name, "", [fit[key] for key in COLUMNS]) for name, fit in found["by_class"].items()
        ]
        tables.append(
            estimates_table(
                "Each class against the rest. In the large: share found minus mean probability, best 0, above 0 the "
                "model says too little. Intercept: best 0. Slope: best 1, below 1 the probabilities are too extreme.",
                list(COLUMNS.values()),
                rows,
                first="Class",
            )
        )
    return Section("calibration", "Calibration", sentences, tables, ["reliability"])


def how_calibrated(found: Mapping[str, Any], of: str) -> str:
    """What made the probabilities, and where it was fitted."""
    if found["method"] == "none":
        return "The probabilities are the network's own; nothing was fitted to calibrate them."
    return (
        f"The network's outputs were calibrated by {METHODS[found['method']]}, fitted on "
        f"{FITTED_ON[found['fitted_on']]} ({plural(found['num_units'], of)} of "
        f"{plural(found['num_groups'], 'group')})."
    )


def is_calibrated(evaluation: Evaluation) -> bool:
    """Whether something was fitted that turns outputs into probabilities."""
    return bool((evaluation.get("calibration_fit") or {}).get("method", "none") != "none")
