"""The look of every figure: colors safe for the color-blind (Okabe and Ito 2008), readable in gray, the same each time.

Figures are made through matplotlib's object interface inside `figure_style()`; nothing global is changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

INK, MUTED, HAIRLINE, PALE = "#1b2733", "#56626d", "#e1e6ea", "#d3dae0"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"

# Color, dashes and marker change together, so that lines can be told apart in gray print.
LINES: tuple[tuple[str, Any, str], ...] = (
    (BLUE, "-", "o"),
    (VERMILLION, (0, (6, 1.5)), "s"),
    (INK, (0, (1.2, 1.2)), "^"),
    (GREEN, (0, (6, 1.5, 1.2, 1.5)), "D"),
)

SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.size": 9,
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: searchable, sharp, and any script the reader's machine knows
    "svg.hashsalt": "chiron",  # the same figure has the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a class may be named a$b$
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "xtick.major.width": 0.7,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
    "ytick.major.width": 0.7,
}


@dataclass(frozen=True)
class Drawing:
    """One figure with its words: a name for files, a caption, and a text alternative made from the numbers."""

    name: str
    caption: str
    alt: str
    figure: Figure


@contextmanager
def figure_style(texts: Sequence[str] = ()) -> Iterator[None]:
    """Matplotlib's own defaults with Chiron's settings on top, whatever the user's matplotlibrc says; undone after.

    Args:
        texts: what will be written; characters that DejaVu Sans lacks are sought in the installed fonts.
    """
    with style.context(["default", SETTINGS | {"font.family": _font_families("".join(texts))}]):
        yield


def _font_families(text: str) -> list[str]:
    lacking = {ord(character) for character in text if character.isprintable()} - _characters(findfont("DejaVu Sans"))
    if not lacking:
        return ["sans-serif"]
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if not font.name.startswith("Last Resort") and lacking <= _characters(font.fname):  # that one draws boxes
            return ["sans-serif", font.name]
    return ["sans-serif"]  # an SVG is right all the same: its text stays text


@cache
def _characters(font_file: str) -> frozenset[int]:
    return frozenset(get_font(font_file).get_charmap())


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches whose parts never overlap."""
    return Figure(figsize=(width, height), layout="constrained")


def short_labels(names: Sequence[str], width: int = 24) -> list[str]:
    """Names of at most `width` characters that stay different from each other; numbered where the cut makes them equal.

    Example:
        >>> short_labels(["nevus", "melanoma in situ of the trunk"], width=16)
        ['nevus', 'melanoma…e trunk']
    """
    clean = [" ".join("".join(c if c.isprintable() else " " for c in name).split()) for name in names]
    short = [_cut(name, width) for name in clean]
    if len(set(short)) < len(short):
        return [f"{place} {_cut(name, width - 3)}" for place, name in enumerate(clean, start=1)]
    return short


def _cut(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail].rstrip()}…{name[len(name) - tail :].lstrip()}"


def unit_axis(axis: Axes, *, square: bool) -> None:
    """Both axes from 0 to 1 with a little air, so that lines at the border are seen whole."""
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axis.set_xticks(ticks)
    axis.set_yticks(ticks)
    if square:
        axis.set_aspect("equal")
