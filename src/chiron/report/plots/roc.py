"""ROC curves: one for the positive class of two, or one a class against the rest."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from chiron.report.format import defined, estimate_text, has_interval, interval_text, is_multi_label, level, number
from chiron.report.plots.style import BLUE, INK, LINES, MUTED, PALE, Drawing, new_figure, short_labels, unit_axis

MOST_IN_ONE_PANEL = len(LINES)
SMALLEST_STEP = 0.002  # a third of a printed point: steps below it cannot be seen


def draw(evaluation: Mapping[str, Any]) -> Drawing | None:
    """ROC curves with AUROC and interval; a small panel a class beyond four classes. None without any curve."""
    stored = evaluation.get("curves", {}).get("roc", {})
    positive = evaluation.get("positive_class")
    wanted = [positive] if positive else list(evaluation["classes"])
    curves = {name: _thinned(stored[name]) for name in wanted if _has_points(stored.get(name))}
    names = list(curves)
    if not names:
        return None
    estimates = {name: evaluation["per_class"][name]["auroc"] for name in names}
    drawing = _one_panel if len(names) <= MOST_IN_ONE_PANEL else _small_panels
    what = f"{positive} against the other class" if positive else "each class against the rest"
    if is_multi_label(evaluation):
        what = "images with each class against images without it, of those assessed"
    confidence = evaluation["confidence_level"]
    point = decision_point(evaluation)
    people = reader_points(evaluation)
    return Drawing(
        name="roc",
        caption=f"ROC, {what}, with AUROC and {level(confidence)} interval. The diagonal is chance."
        + (f" The open circle is the decision by {point[2]}." if point else "")
        + (" Crosses are readers, on the images that each of them answered." if people else ""),
        alt=f"ROC curves, {what}. AUROC: "
        + "; ".join(f"{name} {estimate_text(estimates[name], confidence)}" for name in names)
        + "."
        + "".join(
            f" Reader {name}: sensitivity {number(high)}, specificity {number(1 - wide)}."
            for name, wide, high in people
        ),
        figure=drawing(evaluation, names, curves, estimates),
    )


def _has_points(curve: Mapping[str, Any] | None) -> bool:
    if curve is None or len(curve["fpr"]) < 2:
        return False
    return all(value is not None for value in (*curve["fpr"], *curve["tpr"]))


def _thinned(curve: Mapping[str, Any]) -> dict[str, list[float]]:
    """The curve without points that lie closer than can be seen; the first and the last stay."""
    kept = [(curve["fpr"][0], curve["tpr"][0])]
    for point in zip(curve["fpr"], curve["tpr"], strict=True):
        if max(abs(point[0] - kept[-1][0]), abs(point[1] - kept[-1][1])) >= SMALLEST_STEP:
            kept.append(point)
    kept.append((curve["fpr"][-1], curve["tpr"][-1]))
    return {"fpr": [point[0] for point in kept], "tpr": [point[1] for point in kept]}


def _label(estimate: Mapping[str, Any], name: str) -> str:
    # The number first: numbers align, and matplotlib drops legend entries that begin with "_".
    if not has_interval(estimate):
        return f"{number(estimate['value']) if defined(estimate) else 'not defined'}  {name}"
    return f"{number(estimate['value'])} ({interval_text(estimate)})  {name}"


def _one_panel(evaluation: Mapping[str, Any], names: list[str], curves: Any, estimates: Any) -> Any:
    figure = new_figure(4.6, 4.75 + 0.19 * len(names))
    axis = figure.add_subplot()
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
    handles, labels = [], []
    for place, (name, short) in enumerate(zip(names, short_labels(names, width=30), strict=True)):
        color, dashes, marker = LINES[place]
        (line,) = axis.plot(
            curves[name]["fpr"],
            curves[name]["tpr"],
            color=color,
            linestyle=dashes,
            marker=None if len(names) == 1 else marker,
            markersize=4,
            markevery=(0.03 + 0.013 * place, 0.17),  # by length along the curve, shifted so that markers do not meet
        )
        handles.append(line)
        labels.append(_label(estimates[name], short))
    _mark_points(axis, evaluation)
    _dress(axis)
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        title=f"AUROC ({level(evaluation['confidence_level'])} interval), class",
        alignment="left",
        handlelength=3.2,
    )
    return figure


def _small_panels(evaluation: Mapping[str, Any], names: list[str], curves: Any, estimates: Any) -> Any:
    columns = 4
    rows = -(-len(names) // columns)
    figure = new_figure(7.4, 1.98 * rows + 0.3)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for place, (axis, name, short) in enumerate(zip(axes, names, short_labels(names, width=22), strict=False)):
        for other in names:
            axis.plot(curves[other]["fpr"][::3], curves[other]["tpr"][::3], color=PALE, linewidth=0.6)
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)))
        axis.plot(curves[name]["fpr"], curves[name]["tpr"], color=BLUE, linewidth=1.6)
        axis.set_title(f"{short}\n", fontsize=8, linespacing=1.1)
        axis.text(0, 1.03, _label(estimates[name], ""), transform=axis.transAxes, fontsize=7.5, color=INK)
        unit_axis(axis, square=True)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if place + columns >= len(names):
            axis.tick_params(labelbottom=True)
    figure.supxlabel("1 − specificity", fontsize=9)
    figure.supylabel("Sensitivity", fontsize=9)
    return figure


def decision_point(evaluation: Mapping[str, Any]) -> tuple[float, float, str] | None:
    """1 - specificity, sensitivity and what decides: of the positive class of two, where both are told."""
    positive = evaluation.get("positive_class")
    if not positive:
        return None
    numbers, by = evaluation["overall"], "the highest output"
    for question in (evaluation.get("questions") or {}).values():
        if question["classes"] == [positive] and question["threshold"]:
            numbers, by = question, "the frozen threshold"
    sensitivity, specificity = numbers.get("sensitivity", {}), numbers.get("specificity", {})
    if not (defined(sensitivity) and defined(specificity)):
        return None
    return 1 - specificity["value"], sensitivity["value"], by


def reader_points(evaluation: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Name, 1 - specificity and sensitivity of readers who answered yes or no for the positive class of two."""
    positive = evaluation.get("positive_class")
    return [
        (entry["reader"], 1 - point["specificity"]["value"], point["sensitivity"]["value"])
        for entry in evaluation.get("readers") or []
        if positive and entry.get("question") == positive
        for point in entry.get("points", [])
        if "from" not in point and defined(point["sensitivity"]) and defined(point["specificity"])
    ]


def _mark_points(axis: Axes, evaluation: Mapping[str, Any]) -> None:
    for _, wide, high in reader_points(evaluation):
        axis.plot(wide, high, marker="x", markersize=6, markeredgecolor=INK, markeredgewidth=1.4, linestyle="none")
    if point := decision_point(evaluation):
        axis.plot(
            *point[:2], marker="o", markersize=8, markerfacecolor="white", markeredgecolor=INK, markeredgewidth=1.4
        )


def _dress(axis: Axes) -> None:
    unit_axis(axis, square=True)
    axis.set_xlabel("1 − specificity")
    axis.set_ylabel("Sensitivity")
