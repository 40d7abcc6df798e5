"""Net benefit over the probability from which on one would act, beside acting on everyone and on no one."""

from collections.abc import Mapping
from typing import Any

from chiron.report.format import case, defined, has_interval, interval_text, number, percent
from chiron.report.plots.style import BLUE, MUTED, PALE, VERMILLION, Drawing, new_figure
from chiron.report.sections.calibration import is_calibrated

MOST_TOLD = 5  # points that the words name


def draw(evaluation: Mapping[str, Any]) -> Drawing | None:
    """The curve of the first question that has one; None without one, or where probabilities were not calibrated."""
    questions = evaluation.get("questions") or {}
    found = [(name, it["net_benefit"]) for name, it in questions.items() if it.get("net_benefit")]
    if not found or not is_calibrated(evaluation):
        return None
    name, points = found[0]
    points = [it for it in points if defined(it["model"]) and defined(it["treat_all"])]
    if len(points) < 2:
        return None
    told = points[:: -(-len(points) // MOST_TOLD)]
    rows = [f"from {percent(it['threshold'], 0)} {_words(it)}" for it in told]
    return Drawing(
        name="decision_curve",
        caption=f"Decision curve, {name}: net benefit in true positives a {case(evaluation)} when one acts from that "
        "probability on. Band: intervals, point by point. Dashed: acting on all; dotted: on none.",
        alt=f"Decision curve of {name}, net benefit with interval, and that of acting on all: {'; '.join(rows)}.",
        figure=_draw(points),
    )


def _words(point: Mapping[str, Any]) -> str:
    model = point["model"]
    interval = f" ({interval_text(model)})" if has_interval(model) else ""
    return f"{number(model['value'])}{interval}, all {number(point['treat_all']['value'])}"


def _draw(points: list[Mapping[str, Any]]) -> Any:
    figure = new_figure(4.6, 3.6)
    axis = figure.add_subplot()
    where = [it["threshold"] for it in points]
    model, everyone = ([it[key]["value"] for it in points] for key in ("model", "treat_all"))
    whole = [it for it in points if has_interval(it["model"])]
    low, high = ([it["model"][key] for it in whole] for key in ("low", "high"))
    axis.fill_between([it["threshold"] for it in whole], low, high, color=PALE, linewidth=0)
    axis.plot(where, model, color=BLUE, label="model")
    axis.plot(where, everyone, color=VERMILLION, linestyle=(0, (6, 1.5)), label="all")
    axis.axhline(0, color=MUTED, linewidth=1.1, linestyle=(0, (1.2, 1.2)), label="none")
    top = max([*model, *everyone, 0.02])
    axis.set_ylim(-0.35 * top, 1.1 * top)  # acting on all falls without end
    axis.set_xlabel("Probability from which on one acts")
    axis.set_ylabel("Net benefit")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, handlelength=3.2)  # above: the band fills the rest
    return figure
