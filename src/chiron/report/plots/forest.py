"""Forest plot of paired differences: a row a comparison, the interval as a line, zero and the margin marked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from chiron.report.comparison_table import difference_text, interval_of, is_ratio
from chiron.report.format import level
from chiron.report.plots.style import BLUE, INK, MUTED, PALE, VERMILLION, Drawing, new_figure, short_labels

MARKERS = {"better": ("D", BLUE), "worse": ("s", VERMILLION)}  # form and color change together
UNDECIDED = ("o", INK)


def draw(comparison: Mapping[str, Any]) -> Drawing | None:
    """The differences of a stored comparison, model less reference; None without any that is defined."""
    rows = [row for row in comparison["comparisons"] if row["difference"] is not None]
    if not rows:
        return None
    several = "simultaneous " if comparison["family"]["size"] > 1 else ""
    interval = f"{several}{level(comparison['confidence_level'])} intervals"
    return Drawing(
        name="forest",
        caption=f"Differences to {comparison['reference']} with {interval}. Filled diamond: better; filled square: "
        "worse; open circle: no evidence of a difference, or no test.",
        alt=f"Differences to {comparison['reference']} with {interval}. "
        + " ".join(f"{row['metric']}, {row['second']}: {difference_text(row)}, {row['verdict']}." for row in rows),
        figure=_draw(rows, comparison["reference"]),
    )


def _draw(rows: list[Mapping[str, Any]], reference: str) -> Any:
    figure = new_figure(7.4, 0.95 + 0.36 * len(rows))
    axis = figure.add_subplot()
    axis.axvline(0, color=MUTED, linewidth=0.9)
    _mark_margin(axis, rows)
    for place, row in enumerate(rows):
        limits = interval_of(row)
        marker, color = MARKERS.get(row["verdict"], UNDECIDED)
        if limits is not None:
            axis.plot(limits, [place, place], color=color, linewidth=1.6)
        fill = color if row["verdict"] in MARKERS else "white"
        axis.plot(row["difference"], place, marker=marker, markersize=6, color=color, markerfacecolor=fill)
        axis.annotate(
            difference_text(row),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )
    scale = [", log ratio" if is_ratio(row) else "" for row in rows]
    labels = short_labels(
        [f"{row['metric']}{of_row}  {row['second']}" for row, of_row in zip(rows, scale, strict=True)], width=34
    )
    axis.set_yticks(np.arange(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"Difference to {short_labels([reference])[0]}")
    return figure


def _mark_margin(axis: Axes, rows: list[Mapping[str, Any]]) -> None:
    margins = {row["margin"]["margin"] for row in rows if row["margin"] is not None}
    for margin in margins:
        axis.axvspan(-margin, margin, color=PALE, alpha=0.5, linewidth=0)
