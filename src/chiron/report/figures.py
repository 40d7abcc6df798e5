"""All figures of a report: drawn once, written as SVG and PNG, or put inline into the page."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from chiron.core.files import write_bytes
from chiron.report.format import is_multi_label
from chiron.report.plots import (
    confusion_matrix,
    decision_curve,
    learning_curves,
    per_class,
    reliability,
    risk_coverage,
    roc,
)
from chiron.report.plots.learning_curves import History
from chiron.report.plots.style import Drawing, figure_style

PNG_DPI = 150
SMALLEST_SCALE = 0.8  # on a phone a figure shrinks so far, then scrolls: 9 pt text stays readable


def draw_figures(
    evaluation: Mapping[str, Any],
    history: History | None = None,
    *,
    selection_metric: str = "",
    best_epoch: int | None = None,
) -> list[Drawing]:
    """Every figure that the stored numbers allow, in the order of the report."""
    with figure_style(evaluation["classes"]):
        several = is_multi_label(evaluation)  # no matrix of classes that do not exclude each other
        drawings = [
            None if several else confusion_matrix.draw_counts(evaluation),
            None if several else confusion_matrix.draw_normalized(evaluation),
            roc.draw(evaluation),
            per_class.draw(evaluation),
            reliability.draw(evaluation),
            decision_curve.draw(evaluation),
            risk_coverage.draw(evaluation),
            learning_curves.draw(history, selection_metric=selection_metric, best_epoch=best_epoch),
        ]
    return [drawing for drawing in drawings if drawing]


def write_figures(drawings: Sequence[Drawing], folder: Path) -> dict[str, tuple[Path, Path]]:
    """Name of every figure with its SVG and its PNG (150 dpi); both files carry the text alternative.

    Raises:
        OutputError: the folder cannot be written.
    """
    written = {}
    for drawing in drawings:
        paths = (folder / f"{drawing.name}.svg", folder / f"{drawing.name}.png")
        write_bytes(paths[0], svg_of(drawing).encode())
        write_bytes(paths[1], png_of(drawing))
        written[drawing.name] = paths
    return written


@lru_cache(maxsize=16)  # the page shows what the files hold; a report has up to eight figures
def svg_of(drawing: Drawing) -> str:
    """The figure as a file of its own; without a date, so that equal numbers give equal bytes."""
    stream = io.StringIO()
    words = {"Title": drawing.name, "Description": drawing.alt, "Date": None, "Creator": "Chiron"}
    with figure_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the viewer has the glyph, this machine need not
        _lay_out(drawing)
        drawing.figure.savefig(stream, format="svg", metadata=words)
    return stream.getvalue()


def png_of(drawing: Drawing) -> bytes:
    """The figure as pixels for slides and documents."""
    stream = io.BytesIO()
    words = {"Title": drawing.name, "Description": drawing.alt, "Software": "Chiron"}
    with figure_style():
        _lay_out(drawing)
        drawing.figure.savefig(stream, format="png", dpi=PNG_DPI, metadata=words)
    return stream.getvalue()


def _lay_out(drawing: Drawing) -> None:
    """Places all parts of a figure for good: matplotlib would do it for every file anew, which is half of its time."""
    engine = drawing.figure.get_layout_engine()
    if engine is not None:
        engine.execute(drawing.figure)
        drawing.figure.set_layout_engine(None)


def inline_svg(drawing: Drawing) -> str:
    """The `<svg>` element for a page: an image to assistive technology, no outside address, ids that cannot collide."""
    svg = svg_of(drawing)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # it would style the whole page
    svg = svg.replace("xlink:href=", "href=")
    svg = _own_ids(svg, drawing.name)
    width, height = (72 * inches for inches in drawing.figure.get_size_inches())  # the SVG's unit is the point
    pixels = width * 4 / 3  # points to CSS pixels
    head = (
        f'<svg class="figure" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="xMinYMid" '
        f'role="img" aria-label="{escape(drawing.alt)}" '
        f'style="width:100%;max-width:{pixels:.0f}px;min-width:{pixels * SMALLEST_SCALE:.0f}px">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)


def _own_ids(svg: str, prefix: str) -> str:
    """Ids that something points to get the figure's name in front; all others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: f"{m[1]}{prefix}-{m[2]}", svg)
