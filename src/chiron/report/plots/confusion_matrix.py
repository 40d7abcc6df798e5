"""Confusion matrices: rows are the reference standard, columns the model output."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import LinearSegmentedColormap

from chiron.report.format import Few, case, count, plural, share, total
from chiron.report.plots.style import HAIRLINE, INK, MUTED, Drawing, new_figure, short_labels

# White to deep blue: lightness falls evenly, so gray print keeps the order.
SHADES = LinearSegmentedColormap.from_list("chiron_blues", ["#ffffff", "#c6dcec", "#6aa6cf", "#0072B2", "#0b3b5c"])
EVEN_CONTRAST = 0.21  # luminance at which white and ink stand out equally


def draw_counts(evaluation: Mapping[str, Any]) -> Drawing:
    """The numbers of images. The shade is the root of the share of the largest cell, so that rare classes show."""
    labels, counts = _matrix(evaluation)
    return Drawing(
        name="confusion_matrix_counts",
        caption=f"Confusion matrix, numbers of {case(evaluation)}s. Rows: reference standard; columns: model output "
        f"(the class with the highest output). The diagonal holds the {case(evaluation)}s that agree.",
        alt=_describe(evaluation, shares=False),
        figure=_draw(
            labels, np.sqrt(_array(counts) / max(map(max, counts))), [[count(n) for n in row] for row in counts]
        ),
    )


def draw_normalized(evaluation: Mapping[str, Any]) -> Drawing | None:
    """The share of each row, with the number of images below; a row without images stays empty.

    None where the counts are coarse: their shares would be wrong.
    """
    labels, counts = _matrix(evaluation)
    if _is_coarse(evaluation):
        return None
    array = _array(counts)
    shares = array / np.maximum(array.sum(axis=1, keepdims=True), 1)
    texts = [
        [_share_text(share, n) if any(row) else "–" for share, n in zip(share_row, row, strict=True)]
        for share_row, row in zip(shares, counts, strict=True)
    ]
    return Drawing(
        name="confusion_matrix_normalized",
        caption=f"Confusion matrix, each row as shares of its class ({case(evaluation)}s below). The diagonal is the "
        "sensitivity of each class.",
        alt=_describe(evaluation, shares=True),
        figure=_draw(labels, shares, texts),
    )


def _matrix(evaluation: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    confusion = evaluation["confusion_matrix"]
    return list(confusion["labels"]), confusion["counts"]


def _is_coarse(evaluation: Mapping[str, Any]) -> bool:
    return "per_thousand" in evaluation["confusion_matrix"]


def _array(counts: list[list[int]]) -> Int[np.ndarray, "k k"]:
    return np.asarray(counts, dtype=np.int64)


def _text_color(shade: float) -> str:
    """White or ink, whichever has the higher contrast on the cell (relative luminance, WCAG 2.2); a zero is muted."""
    if shade == 0:
        return MUTED
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in SHADES(shade)[:3])
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < EVEN_CONTRAST else INK


def _share_text(share: float, images: int) -> str:
    return f"{100 * share:.0f} %\n{count(images)}" if images else "0"


def _draw(labels: list[str], shade: Float[np.ndarray, "k k"], texts: Sequence[Sequence[str]]) -> Any:
    size = len(labels)
    cell = 0.95 if size == 2 else 0.62 if size <= 8 else 0.46
    names = short_labels(labels, width=22 if size <= 8 else 18)
    longest = max(len(name) for name in names)
    margin = 0.75 + 0.075 * longest
    figure = new_figure(size * cell + margin, size * cell + (0.6 if longest * 0.09 < cell else margin))
    axis = figure.add_subplot()
    axis.pcolormesh(shade, cmap=SHADES, vmin=0, vmax=1, edgecolors=HAIRLINE, linewidth=0.8)
    for (row, column), value in np.ndenumerate(shade):
        axis.text(
            column + 0.5,
            row + 0.5,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=11 if size == 2 else 8.5 if size <= 8 else 6.5,
            fontweight="bold" if row == column else "normal",
            color=_text_color(float(value)),
            linespacing=1.25,
            in_layout=False,  # it lies inside its cell; measuring 400 of them would take a second
        )
    upright = longest * 0.09 > cell
    axis.set_xticks(np.arange(size) + 0.5, names, rotation=90 if upright else 0)
    axis.set_yticks(np.arange(size) + 0.5, names)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.set_xlabel("Model output")
    axis.set_ylabel("Reference standard")
    return figure


def _describe(evaluation: Mapping[str, Any], *, shares: bool) -> str:
    """The matrix in words: for each class how many agree and where most of the others went."""
    labels, counts = _matrix(evaluation)
    images = plural(evaluation["num_images"], case(evaluation))
    kind = "as shares of each row" if shares else f"in numbers of {case(evaluation)}s"
    parts = [f"Confusion matrix of {images} {kind}, reference standard against model output."]
    for row, name in enumerate(labels):
        of_class, right = total(counts[row]), counts[row][row]
        if not any(counts[row]):
            parts.append(f"{name}: no {case(evaluation)}.")
            continue
        if _is_coarse(evaluation):  # coarse cells do not add up to their class
            part = f"{name}: {count(right)} agree"
        else:
            part = f"{name}: {count(right)} of {count(of_class)} agree" + (f" ({share(right, of_class)})" * shares)
        most, where = max((n, -k) for k, n in enumerate(counts[row]) if k != row)
        if most and not isinstance(most, Few):
            part += f", most others are called {labels[-where]} ({count(most)})"
        parts.append(f"{part}.")
    return " ".join(parts)
