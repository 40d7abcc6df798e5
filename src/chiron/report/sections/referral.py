"""Referral: what remains of the errors when the cases that the model is least sure of go to a person."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, count, estimate_text, percent
from chiron.report.sections.section import Given, Section, estimates_table

Evaluation = Mapping[str, Any]


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """The risk-coverage curve and a referral table a question with a threshold; None without either."""
    curve = evaluation.get("abstention")
    tables = {name: it["referral"] for name, it in (evaluation.get("questions") or {}).items() if it.get("referral")}
    if not curve and not tables:
        return None
    sentences = []
    if curve:
        area = estimate_text(curve["area"], evaluation["confidence_level"])
        sentences.append(
            f"The {case(evaluation)}s are answered from the surest on, by the largest probability. Mean share of "
            f"errors over all shares that can be answered: {area}; 0 is best."
        )
    told = [
        estimates_table(
            f"{name}: what remains when the {case(evaluation)}s nearest to the threshold are referred. Intervals take "
            "the limit of referral as given.",
            ["Referred", "Errors", "Sensitivity", "Specificity"],
            [(f"{percent(row['share'], 0)} at most", "", _cells(row)) for row in table],
            first="Share referred",
        )
        for name, table in tables.items()
    ]
    return Section("referral", "Referral", sentences, told, ["risk_coverage"])


def _cells(row: Mapping[str, Any]) -> list[Given]:
    return [count(row["num_referred"]), row["error"], row["sensitivity"], row["specificity"]]
