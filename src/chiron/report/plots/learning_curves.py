"""Learning curves: losses, the metric that chose the epoch, and the learning rate, over the epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from chiron.report.format import number, plural
from chiron.report.plots.style import BLUE, INK, MUTED, VERMILLION, Drawing, new_figure
from chiron.report.words import word

History = Sequence[Mapping[str, Any]]


def draw(history: History | None, *, selection_metric: str = "", best_epoch: int | None = None) -> Drawing | None:
    """One panel a quantity below each other, the best epoch marked. None without a history.

    Args:
        selection_metric: a column of the history, such as `val_auroc`; by default the first `val_` column but the loss.
    """
    if not history:
        return None
    metric = selection_metric or next((key for key in history[0] if key.startswith("val_") and key != "val_loss"), "")
    panels = [
        ("Loss", [("train_loss", "train"), ("val_loss", "val (tuning)")]),
        (metric_name(metric), [] if metric == "val_loss" else [(metric, "val (tuning)")]),
        ("Learning rate", [("lr", "learning rate")]),
    ]
    shown = [(title, [line for line in lines if _points(history, line[0])]) for title, lines in panels]
    shown = [(title, lines) for title, lines in shown if lines]
    if not shown:
        return None
    caption = "Learning curves; val is the tuning split."
    if best_epoch is not None:
        caption += f" The vertical line marks the epoch that was kept ({best_epoch})."
    return Drawing(
        name="learning_curves",
        caption=caption,
        alt=_describe(history, shown, best_epoch),
        figure=_draw(history, shown, best_epoch),
    )


def metric_name(column: str) -> str:
    """The words for a column of the history, such as `val_auroc`."""
    return word(column.removeprefix("val_").removeprefix("train_")).name


def _points(history: History, key: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[key]) for row in history if row.get(key) is not None and row[key] == row[key]]


def _draw(history: History, panels: list[tuple[str, list[tuple[str, str]]]], best_epoch: int | None) -> Any:
    heights = [1.0 if title == "Learning rate" else 1.7 for title, _ in panels]
    figure = new_figure(6.2, 0.5 + sum(heights))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    for axis, (title, lines) in zip(axes, panels, strict=True):
        for place, (key, label) in enumerate(lines):
            _line(axis, _points(history, key), label, second=place == 1 or (key.startswith("val_") and len(lines) == 1))
        axis.set_title(title)
        if best_epoch is not None:
            axis.axvline(best_epoch, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
        if len(lines) > 1:
            axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, handlelength=2.6)
    axes[-1].set_xlabel("Epoch")
    axes[-1].locator_params(axis="x", integer=True)
    return figure


def _line(axis: Axes, points: list[tuple[float, float]], label: str, *, second: bool) -> None:
    epochs, values = zip(*points, strict=True)
    few = len(points) <= 40
    axis.plot(
        epochs,
        values,
        color=VERMILLION if second else MUTED if label == "learning rate" else BLUE,
        linestyle=(0, (5, 1.5)) if second else "-",
        marker=("s" if second else "o") if few else None,
        markersize=3.5,
        label=label,
    )


def _describe(history: History, panels: list[tuple[str, list[tuple[str, str]]]], best_epoch: int | None) -> str:
    parts = [f"Learning curves over {plural(len(history), 'epoch')}."]
    for title, lines in panels:
        for key, label in lines:
            points = _points(history, key)
            decimals = 6 if key == "lr" else 3
            name = title if label == "learning rate" else f"{title}, {label}"
            parts.append(f"{name}: from {number(points[0][1], decimals)} to {number(points[-1][1], decimals)}.")
    if best_epoch is not None:
        parts.append(f"Epoch {best_epoch} was kept.")
    return " ".join(parts)
