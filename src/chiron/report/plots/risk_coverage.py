"""The share of errors among the cases that are answered, from the surest on."""

from collections.abc import Mapping
from typing import Any

from chiron.report.format import case, estimate_text, number, percent
from chiron.report.plots.style import BLUE, MUTED, Drawing, new_figure

SMALLEST_STEP = 0.002  # a third of a printed point: steps below it cannot be seen
TOLD = (0.25, 0.5, 0.75, 1.0)  # shares answered that the words name


def draw(evaluation: Mapping[str, Any]) -> Drawing | None:
    """The risk-coverage curve; None without one."""
    curve = evaluation.get("abstention")
    if not curve or len(curve["coverage"]) < 2:
        return None
    answered, errors = _thinned(curve)
    told = [f"{percent(share, 0)} answered, {percent(_at(curve, share))} wrong" for share in TOLD]
    return Drawing(
        name="risk_coverage",
        caption=f"Risk and coverage: the share of errors when only the surest {case(evaluation)}s are answered. "
        "Dotted: the share of errors when all are.",
        alt=f"Risk-coverage curve: {'; '.join(told)}. Mean: "
        f"{estimate_text(curve['area'], evaluation['confidence_level'])}.",
        figure=_draw(answered, errors, f"Share of {case(evaluation)}s answered"),
    )


def _at(curve: Mapping[str, Any], share: float) -> float:
    """The share of errors at the first point with at least so many answered."""
    place = next((k for k, coverage in enumerate(curve["coverage"]) if coverage >= share - 1e-9), -1)
    return float(curve["risk"][place])


def _thinned(curve: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The curve without points that lie closer than can be seen; the first and the last stay."""
    points = list(zip(curve["coverage"], curve["risk"], strict=True))
    kept = [points[0]]
    for point in points[1:]:
        if max(abs(point[0] - kept[-1][0]), abs(point[1] - kept[-1][1])) >= SMALLEST_STEP:
            kept.append(point)
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return [point[0] for point in kept], [point[1] for point in kept]


def _draw(answered: list[float], errors: list[float], label: str) -> Any:
    figure = new_figure(4.6, 3.2)
    axis = figure.add_subplot()
    axis.axhline(errors[-1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
    axis.plot(answered, errors, color=BLUE)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, max(*errors, 0.05) * 1.05)
    axis.set_xlabel(label)
    axis.set_ylabel("Share of errors among them")
    axis.text(0.02, errors[-1], f" {number(errors[-1])}", va="bottom", fontsize=8, color=MUTED)
    return figure
