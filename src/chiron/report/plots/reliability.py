"""Reliability diagram: how often the model output agrees with the reference standard at each confidence."""

from collections.abc import Mapping
from typing import Any

from chiron.report.format import case, count, is_multi_label, number, percent, plural, spread
from chiron.report.plots.style import BLUE, MUTED, PALE, Drawing, new_figure, unit_axis


def draw(evaluation: Mapping[str, Any]) -> Drawing | None:
    """Accuracy by bin of confidence, the band of a calibrated model behind, image counts below. None without bins."""
    calibration = evaluation.get("calibration") or {}
    bins = [entry for entry in calibration.get("bins", []) if entry["count"] and entry["confidence"] is not None]
    if not bins:
        return None
    of = "label" if is_multi_label(evaluation) else case(evaluation)
    whole = "All assessed labels of all classes together. " if is_multi_label(evaluation) else ""
    has_band = any(entry["band_low"] is not None for entry in bins)
    boxes = (
        f"gray boxes: where {percent(0.9, 0)} of the dots of a calibrated model of this size would lie; "
        if has_band
        else ""
    )
    return Drawing(
        name="reliability",
        caption=f"Reliability diagram. {whole}Dots: share of right outputs in each bin of confidence; {boxes}"
        f"bars: numbers of {of}s.",
        alt=_describe(calibration, bins, of),
        figure=_draw(calibration, bins, of),
    )


def _draw(calibration: Mapping[str, Any], bins: list[Mapping[str, Any]], of: str) -> Any:
    figure = new_figure(4.6, 5.2)
    top, bottom = figure.subplots(2, 1, height_ratios=[3.6, 1], sharex=True)
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
    for entry in bins:
        if entry["band_low"] is not None and entry["band_high"] is not None:
            top.bar(
                entry["low"],
                entry["band_high"] - entry["band_low"],
                bottom=entry["band_low"],
                width=entry["high"] - entry["low"],
                align="edge",
                color=PALE,
                edgecolor="white",
                linewidth=0.8,
            )
    confidence, accuracy = [e["confidence"] for e in bins], [e["accuracy"] for e in bins]
    top.plot(confidence, accuracy, color=BLUE, linewidth=1.2, marker="o", markersize=5.5, markeredgecolor="white")
    unit_axis(top, square=False)
    top.set_ylabel("Share of right outputs")
    top.text(0.02, 0.97, _ece_text(calibration), transform=top.transAxes, va="top", linespacing=1.45)
    widths = [e["high"] - e["low"] for e in bins]
    bottom.bar(
        [e["low"] for e in bins],
        [e["count"] for e in bins],
        width=widths,
        align="edge",
        color=BLUE,
        edgecolor="white",
        linewidth=0.8,
    )
    bottom.grid(visible=False, axis="x")
    bottom.locator_params(axis="y", nbins=3, integer=True)
    bottom.yaxis.set_major_formatter(lambda value, _: count(round(value)))
    bottom.set_ylabel(f"{of.capitalize()}s")
    told = "probability of what is said" if of == "label" else "highest probability"
    bottom.set_xlabel(f"Confidence ({told})")
    figure.align_ylabels()
    return figure


def _ece_text(calibration: Mapping[str, Any]) -> str:
    low, high = calibration.get("consistency_band") or (None, None)
    text = f"ECE {number(calibration['ece'])}" if calibration.get("ece") is not None else "ECE not defined"
    return text + (f"\ncalibrated model: {spread(low, high)}" if low is not None and high is not None else "")


def _describe(calibration: Mapping[str, Any], bins: list[Mapping[str, Any]], of: str) -> str:
    inside = [e for e in bins if e["band_low"] is not None and e["band_low"] <= e["accuracy"] <= e["band_high"]]
    above = [e for e in bins if e["band_high"] is not None and e["accuracy"] > e["band_high"]]
    parts = [
        f"Reliability diagram with {plural(len(bins), 'bin')} that hold {of}s.",
        f"{_ece_text(calibration)}.".replace("\n", "; "),
    ]
    if any(entry["band_low"] is not None for entry in bins):
        parts.append(
            f"{len(inside)} lie inside the band of a calibrated model, {len(above)} above it, "
            f"{len(bins) - len(inside) - len(above)} below it or without a band."
        )
    rows = [f"{number(e['confidence'], 2)} and {number(e['accuracy'], 2)} ({count(e['count'])})" for e in bins]
    return " ".join([*parts, f"Confidence and share of right outputs ({of}s): {'; '.join(rows)}."])
