"""A contact sheet: a row an image, a column a stage of its way into the network, the class under each."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from chiron.report.plots.style import BLUE, INK, figure_style, new_figure, short_labels

_LEAST_PX = 128  # smaller images are magnified by a whole number
_DPI = 100
_TEXT_PX, _GAP_PX = 18, 6

Tile = UInt8[np.ndarray, "_side _side _channels"]


@dataclass(frozen=True)
class SheetRow:
    """One image at its stages; `outlines` are 0/1 masks of the same sizes, or empty."""

    label: str
    tiles: tuple[Tile, ...]
    outlines: tuple[UInt8[np.ndarray, "_side _side"], ...] = ()


def contact_sheet(rows: Sequence[SheetRow], columns: Sequence[str]) -> bytes:
    """The sheet as a PNG, without any metadata.

    Args:
        columns: what the stages are called; as many as every row has tiles. The last one's size is that of all.
    """
    last = rows[0].tiles[-1].shape[0]
    side = last * max(1, -(-_LEAST_PX // last))
    width = len(columns) * (side + _GAP_PX) + _GAP_PX
    height = _TEXT_PX + len(rows) * (side + _TEXT_PX + _GAP_PX)
    canvas = np.full((height, width, 3), 255, np.uint8)
    texts: list[tuple[float, float, str, str]] = []
    labels = short_labels(sorted({row.label for row in rows}), width=max(8, side // 6))
    shown = dict(zip(sorted({row.label for row in rows}), labels, strict=True))
    for place, name in enumerate(columns):
        texts.append((_GAP_PX + place * (side + _GAP_PX), _TEXT_PX / 2, name, "bold"))
    for number, row in enumerate(rows):
        top = _TEXT_PX + number * (side + _TEXT_PX + _GAP_PX)
        for place, tile in enumerate(row.tiles):
            left = _GAP_PX + place * (side + _GAP_PX)
            outline = row.outlines[place] if row.outlines else None
            canvas[top : top + side, left : left + side] = _picture(tile, outline, side)
            texts.append((left, top + side + _TEXT_PX / 2, shown[row.label], "normal"))
    return _png(canvas, texts)


def _picture(tile: Tile, outline: UInt8[np.ndarray, "_side _side"] | None, side: int) -> UInt8[np.ndarray, "s s 3"]:
    """A tile in color at the size of the sheet, with its outline: blue inside a white line, seen on dark and bright."""
    how = cv2.INTER_AREA if tile.shape[0] > side else cv2.INTER_NEAREST
    scaled = cv2.resize(tile, (side, side), interpolation=how).reshape(side, side, -1)
    picture = np.broadcast_to(scaled, (side, side, 3)).copy()
    if outline is not None:
        mask = cv2.resize(outline, (side, side), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, (255, 255, 255), 3)
        cv2.drawContours(picture, contours, -1, [int(BLUE[k : k + 2], 16) for k in (1, 3, 5)], 1)
    return picture


def _png(canvas: UInt8[np.ndarray, "h w 3"], texts: Sequence[tuple[float, float, str, str]]) -> bytes:
    """Pixels one to one, with words over them (x and y of their left middle, text, weight)."""
    height, width = canvas.shape[:2]
    with figure_style([text for _, _, text, _ in texts]):
        figure = new_figure(width / _DPI, height / _DPI)
        figure.set_layout_engine("none")
        figure.figimage(canvas)
        for x, y, text, weight in texts:
            figure.text(x / width, 1 - y / height, text, va="center", fontsize=8, fontweight=weight, color=INK)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
