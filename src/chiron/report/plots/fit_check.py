"""The figure of `chiron fit-check`: loss, accuracy, gap and learning rate over the epochs, and what was scored."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from chiron.report.format import number
from chiron.report.plots.style import BLUE, INK, MUTED, PALE, VERMILLION, Drawing, new_figure

History = Sequence[Mapping[str, Any]]


def draw(history: History, check: Mapping[str, Any]) -> Drawing:
    """Four panels; bars of error show the intervals of what was scored as val is.

    Args:
        history: rows of the training history, one or more; it may be empty.
        check: numbers of `chiron fit-check`.
    """
    figure = new_figure(8.4, 6.6)
    loss, accuracy, gap, rate = figure.subplots(2, 2).ravel()
    _draw_loss(loss, history, check)
    _draw_accuracy(accuracy, history, check)
    _draw_gap(gap, history, check)
    _draw_rate(rate, history)
    for axis in (loss, accuracy, gap, rate):
        axis.set_xlabel("Epoch")
        axis.set_xlim(0.4, max([1, check["epoch"] or 1, *(row["epoch"] for row in history)]) + 0.6)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis is not rate:
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return Drawing(
        name="fit_check",
        caption="Fit: points with bars are the chosen network on training and val images as they are, with intervals; "
        "gray is what training minimized, on changed images, and not comparable with val.",
        alt=_describe(check),
        figure=figure,
    )


def _draw_loss(axis: Axes, history: History, check: Mapping[str, Any]) -> None:
    axis.set_title("Log loss, nats")
    _line(axis, history, "train_loss", "train, as minimized", color=MUTED, dashes=(0, (1.2, 1.2)), marker="^")
    _line(axis, history, "val_loss", "val", color=VERMILLION, dashes=(0, (5, 1.5)), marker="s")
    _scored(axis, check, "loss")
    axis.set_ylim(0, 1.05 * axis.dataLim.ymax)


def _draw_accuracy(axis: Axes, history: History, check: Mapping[str, Any]) -> None:
    axis.set_title("Accuracy")
    _line(axis, history, "val_accuracy", "val", color=VERMILLION, dashes=(0, (5, 1.5)), marker="s")
    _scored(axis, check, "accuracy")


def _draw_gap(axis: Axes, history: History, check: Mapping[str, Any]) -> None:
    axis.set_title("Gap of the log loss: val − train")
    rows = [row for row in history if None not in (row.get("train_loss"), row.get("val_loss"))]
    axis.bar(
        [row["epoch"] for row in rows],
        [row["val_loss"] - row["train_loss"] for row in rows],
        width=0.7,
        color=PALE,
        label="against train as minimized",
    )
    axis.axhline(0, color=INK, linewidth=0.7)
    names = ("good_below", "moderate_below")
    for name, dashes in zip(names, ((0, (5, 2)), (0, (2, 2))), strict=True):
        level = check["thresholds"][name]
        axis.axhline(level, color=INK, linewidth=0.9, linestyle=dashes, label=f"{name.replace('_', ' ')} {level:g}")
    _point(axis, check["epoch"], check["loss"]["gap"], "scored, with interval", color=INK, marker="D")


def _draw_rate(axis: Axes, history: History) -> None:
    axis.set_title("Learning rate")
    rows = [row for row in history if row.get("lr")]  # a warm-up may start at 0, which no logarithm shows
    axis.plot([row["epoch"] for row in rows], [row["lr"] for row in rows], color=BLUE, marker=_marker(rows, "o"))
    if not rows:
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, place: f"{value:.3g}")  # matplotlib's own is mathematical text
    axis.yaxis.set_minor_formatter(NullFormatter())
    rates = [row["lr"] for row in rows]
    if max(rates) < 10 * min(rates):  # there may be no power of ten to write
        axis.set_yticks(sorted({min(rates), max(rates)}))


def _line(axis: Axes, history: History, key: str, label: str, *, color: str, dashes: Any, marker: str) -> None:
    rows = [row for row in history if row.get(key) is not None]
    axis.plot(
        [row["epoch"] for row in rows],
        [row[key] for row in rows],
        color=color,
        linestyle=dashes,
        marker=_marker(rows, marker),
        markersize=3.5,
        label=label,
    )


def _marker(rows: History, marker: str) -> str | None:
    return marker if len(rows) <= 40 else None


def _scored(axis: Axes, check: Mapping[str, Any], quantity: str) -> None:
    epoch = check["epoch"]
    _point(axis, epoch - 0.12, check[quantity]["train"], "train, scored", color=BLUE, marker="o")
    _point(axis, epoch + 0.12, check[quantity]["val"], "val, scored", color=INK, marker="D")


def _point(axis: Axes, epoch: float, estimate: Mapping[str, Any], label: str, *, color: str, marker: str) -> None:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    reach = None if low is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
    axis.errorbar(
        [epoch], [value], yerr=reach, color=color, marker=marker, markersize=6, capsize=4, linestyle="", label=label
    )


def _describe(check: Mapping[str, Any]) -> str:
    parts = [f"Fit at epoch {check['epoch']}: {check['verdict']}."]
    for quantity, words in (("loss", "Log loss"), ("accuracy", "Accuracy")):
        values = ", ".join(f"{part} {number(check[quantity][part]['value'])}" for part in ("train", "val", "gap"))
        parts.append(f"{words}: {values}.")
    return " ".join(parts)
