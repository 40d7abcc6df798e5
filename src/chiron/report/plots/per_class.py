"""Per-class results with their intervals: sensitivity, precision and AUROC side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from chiron.report.format import case, count, defined, estimate_text, has_interval, level, plural
from chiron.report.plots.style import BLUE, HAIRLINE, MUTED, Drawing, new_figure, short_labels
from chiron.report.words import word

SHOWN = ("sensitivity", "precision", "auroc")


def draw(evaluation: Mapping[str, Any]) -> Drawing:
    """A bar from 0 to the value with the interval as a line, a row a class; undefined values stay empty and say so."""
    confidence = evaluation["confidence_level"]
    return Drawing(
        name="per_class",
        caption=f"Results by class with {level(confidence)} intervals (methods: see the table). In brackets: "
        f"{case(evaluation)}s, groups. Dotted: what chance would give, for precision the share of the class, for "
        "AUROC 0.5.",
        alt=_describe(evaluation),
        figure=_draw(evaluation),
    )


def _draw(evaluation: Mapping[str, Any]) -> Any:
    classes = list(evaluation["classes"])
    figure = new_figure(7.4, 0.95 + 0.34 * len(classes))
    axes = figure.subplots(1, len(SHOWN), sharey=True)
    for axis, key in zip(axes, SHOWN, strict=True):
        for row, name in enumerate(classes):
            _bar(axis, row, evaluation["per_class"][name][key])
        if key == "precision":
            _mark_shares(axis, [evaluation["class_counts"][name]["prevalence"] for name in classes])
        if key == "auroc":
            axis.axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (1.5, 1.5)))
        axis.set_title(word(key).name.split(" (")[0])
        axis.set_xlim(0, 1.02)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    support = [evaluation["per_class"][name]["support"] for name in classes]
    labels = [
        f"{short} ({count(n['images'])}, {count(n['groups'])})"
        for short, n in zip(short_labels(classes), support, strict=True)
    ]
    axes[0].set_yticks(np.arange(len(classes)), labels)
    axes[0].set_ylim(len(classes) - 0.4, -0.6)
    return figure


def _mark_shares(axis: Axes, shares: list[Mapping[str, Any]]) -> None:
    """A dotted stroke at each class's share of the images: the precision of outputs drawn by lot."""
    for row, share in enumerate(shares):
        if defined(share):
            axis.plot([share["value"]] * 2, [row - 0.36, row + 0.36], color=MUTED, linewidth=1.1, linestyle=(0, (1, 1)))


def _bar(axis: Axes, row: int, estimate: Mapping[str, Any]) -> None:
    if not defined(estimate):
        words = "withheld" if estimate.get("withheld") else "not defined"
        axis.text(0.02, row, words, va="center", fontsize=7.5, fontstyle="italic", color=MUTED)
        return
    axis.barh(row, estimate["value"], height=0.46, color="#9cc5e0" if has_interval(estimate) else HAIRLINE)
    axis.plot(estimate["value"], row, marker="o", markersize=4.5, color=BLUE)
    if has_interval(estimate):
        axis.plot([estimate["low"], estimate["high"]], [row, row], color=BLUE, linewidth=1.4)


def _describe(evaluation: Mapping[str, Any]) -> str:
    rows = []
    for name in evaluation["classes"]:
        result = evaluation["per_class"][name]
        numbers = [f"{word(key).name.split(' (')[0]} {estimate_text(result[key])}" for key in SHOWN]
        rows.append(f"{name} ({plural(result['support']['images'], case(evaluation))}): {', '.join(numbers)}.")
    return " ".join(["Bars by class.", *rows])
