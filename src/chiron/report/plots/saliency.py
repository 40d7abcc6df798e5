"""A map over its image: colors of equal steps, the image left gray below them, and a picture that stands for itself."""

import io
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex

from chiron.report.plots.style import INK, MUTED, figure_style, new_figure

__all__ = ["COLORS", "color_stops", "overlay", "saliency_png"]

COLORS = "inferno"  # lightness rises evenly with the value, so that it is read in gray print as well
IMAGE_SHARE = 0.4  # of the overlay; the rest is the map's color
_DPI, _INCHES, _LETTERS = 100, 8.0, 112  # letters of a line across the picture

Picture = UInt8[np.ndarray, "h w _channels"]


def overlay(shown: Picture, heat: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The map's colors over the image in gray.

    Args:
        heat: the map at the size of the image, 0 to 1.
    """
    gray = shown.mean(axis=2, keepdims=True) / 255
    color = matplotlib.colormaps[COLORS](heat)[..., :3]
    return np.rint(255 * (IMAGE_SHARE * gray + (1 - IMAGE_SHARE) * color)).astype(np.uint8)


def color_stops(count: int = 9) -> str:
    """The colors from the least value to the most, as a gradient in CSS takes them."""
    return ", ".join(to_hex(matplotlib.colormaps[COLORS](place / (count - 1))) for place in range(count))


def saliency_png(shown: Picture, heat: Float[np.ndarray, "h w"], *, title: str, lines: Sequence[str]) -> bytes:
    """Image and overlay side by side with a color bar and words below, as a PNG without metadata.

    Args:
        title: the line above.
        lines: what stands below, wrapped to the width of the picture.
    """
    wrapped = [part for line in lines for part in textwrap.wrap(line, _LETTERS)]
    tall = _INCHES / 2.25 * shown.shape[0] / shown.shape[1]
    words, above = 0.17 * len(wrapped) + 0.2, 0.5
    share = words / (tall + words + above)
    with figure_style([title, *wrapped]):
        figure = new_figure(_INCHES, tall + words + above)
        figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))
        left, right = figure.subplots(1, 2)
        for axis, pixels, heading in (
            (left, shown, "What the network saw"),
            (right, overlay(shown, heat), "Where it reacted"),
        ):
            gray = pixels.shape[2] == 1
            axis.imshow(pixels[..., 0] if gray else pixels, cmap="gray" if gray else None, vmin=0, vmax=255)
            axis.set_title(heading, fontweight="normal", color=MUTED)
            axis.set_axis_off()
        scale = ScalarMappable(Normalize(0, 1), COLORS)
        bar = figure.colorbar(scale, ax=[left, right], ticks=[0, 1], fraction=0.04, pad=0.02)
        bar.ax.set_yticklabels(["least", "most"])
        bar.outline.set_visible(False)
        figure.suptitle(title, x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK)
        figure.text(0.012, 0.012, "\n".join(wrapped), va="bottom", fontsize=9, color=INK, linespacing=1.35)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
