"""Quality: which images are broken, tiny, blank, dark, bright, blurred or unlike the rest. Flags never drop an image.

"Unlike the rest" is the modified z-score, 0.6745 (x - median) / MAD, beyond 3.5 (Iglewicz and Hoaglin 1993, How to
detect and handle outliers). It needs no normal distribution, and half of the set may be strange before it fails. Every
such flag needs a plain difference too, so that a very even set does not flag what nobody can see.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiron.audit.facts import ImageFacts
from chiron.data.manifest import Manifest

OUTLYING = 3.5
FLAGS: Mapping[str, str] = {
    "unreadable": "cannot be decoded",
    "tiny": "shorter side under 24 px, or under half of the set's median",
    "blank": "standard deviation of gray under 2 of 255 levels, or over 99 % black or white",
    "dark": "mean gray under 5 %, or under 25 % and outlying in the set",
    "bright": "mean gray over 95 %, or over 75 % and outlying in the set",
    "blurred": "sharpness over contrast (variance of the Laplacian by variance of gray) outlying below on the log "
    "scale, and under a quarter of the set's median",
    "odd_aspect": "aspect ratio beyond 4 to 1, or outlying and a quarter away from the set's median",
    "mixed_color_mode": "another color mode than most images of the set",
    "mixed_bit_depth": "another bit depth than most images of the set",
}
_LEAST_DEVIATION = 0.01  # a MAD is not taken for smaller: in an even set, rounding is no outlier


@dataclass(frozen=True)
class QualityReport:
    """Flags of every image, and how many images have each, by class and by split."""

    flags: Mapping[str, tuple[str, ...]]  # sample_id -> its flags; images without any are left out
    counts: Mapping[str, int]
    by_class: Mapping[str, Mapping[str, int]]  # flag -> class -> images
    by_split: Mapping[str, Mapping[str, int]]
    num_images: int
    color_modes: Mapping[str, int]
    bit_depths: Mapping[str, int]
    image_sizes: Mapping[str, int]  # the ten most frequent
    num_image_sizes: int

    @property
    def sentences(self) -> list[str]:
        """What a person should know of the set as a whole, one plain sentence each."""
        told = []
        for what, held in (("color mode", self.color_modes), ("bit depth", self.bit_depths)):
            if len(held) > 1:
                listed = ", ".join(f"{value} {count:,}" for value, count in held.items())
                told.append(f"Images differ in {what}: {listed}.")
        if self.num_image_sizes > 1:
            size, count = next(iter(self.image_sizes.items()))
            told.append(
                f"Images differ in size: {self.num_image_sizes:,} sizes, the most frequent is {size} ({count:,} of "
                f"{self.num_images:,})."
            )
        return told

    def column(self, sample_ids: Sequence[str]) -> pl.Series:
        """The manifest's column `quality`: flags joined by commas, empty where there is none."""
        return pl.Series("quality", [",".join(self.flags.get(name, ())) for name in sample_ids], pl.String)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"sentences": self.sentences}


def check_quality(manifest: Manifest, facts: ImageFacts) -> QualityReport:
    """The flags of every image of a manifest.

    Args:
        facts: of all rows of the manifest, in its order.
    """
    frame, measured = manifest.frame, facts.frame
    raised = _raised(measured)
    ids = frame["sample_id"].to_list()
    flags = {
        name: tuple(flag for flag in FLAGS if raised[flag][row])
        for row, name in enumerate(ids)
        if any(raised[flag][row] for flag in FLAGS)
    }
    counts = {flag: int(raised[flag].sum()) for flag in FLAGS if raised[flag].any()}
    labels = _labels(manifest)
    splits = [[split] for split in frame["split"].fill_null("none")]
    readable = measured.filter(pl.col("mean").is_not_null())
    sizes = Counter(f"{width} x {height}" for width, height in readable.select("width", "height").iter_rows())
    return QualityReport(
        flags=flags,
        counts=counts,
        by_class={flag: _tally(raised[flag], labels) for flag in counts},
        by_split={flag: _tally(raised[flag], splits) for flag in counts},
        num_images=frame.height,
        color_modes=_ranked(Counter(readable["color_mode"])),
        bit_depths=_ranked(Counter(map(str, readable["bit_depth"]))),
        image_sizes=dict(list(_ranked(sizes).items())[:10]),
        num_image_sizes=len(sizes),
    )


def modified_z(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """0.6745 (x - median) / MAD, NaN where x is; a MAD under 0.01 is taken as 0.01.

    Example:
        >>> modified_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2).tolist()
        [-1.35, -0.67, 0.0, 0.67, 65.43]
    """
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    middle = np.nanmedian(values)
    deviation = max(float(np.nanmedian(np.abs(values - middle))), _LEAST_DEVIATION)
    return 0.6745 * (values - middle) / deviation


def _raised(measured: pl.DataFrame) -> dict[str, Bool[np.ndarray, "n"]]:
    """Every flag as true or false a row; comparisons with NaN (unreadable images) are false."""
    value = {
        name: measured[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("width", "height", "mean", "std", "black_share", "white_share", "sharpness")
    }
    readable = np.isfinite(value["mean"])
    shorter = np.fmin(value["width"], value["height"])
    aspect = np.log(value["width"] / value["height"])
    detail = value["sharpness"] / np.maximum(value["std"] ** 2, 1e-8)  # a dark or pale picture is not a blurred one
    log_detail = np.log(np.maximum(detail, 1e-8))
    brightness = modified_z(value["mean"])
    blank = (value["std"] < 2 / 255) | (value["black_share"] > 0.99) | (value["white_share"] > 0.99)
    is_blurred = (modified_z(log_detail) < -OUTLYING) & (detail < _median(detail) / 4)
    far_from_most = np.abs(aspect - _median(aspect)) > np.log(1.25)
    return {
        "unreadable": ~readable,
        "tiny": (shorter < 24) | (shorter < _median(shorter) / 2),
        "blank": blank,
        "dark": (value["mean"] < 0.05) | ((value["mean"] < 0.25) & (brightness < -OUTLYING)),
        "bright": (value["mean"] > 0.95) | ((value["mean"] > 0.75) & (brightness > OUTLYING)),
        "blurred": is_blurred & ~blank,
        "odd_aspect": (np.abs(aspect) > np.log(4)) | ((np.abs(modified_z(aspect)) > OUTLYING) & far_from_most),
        "mixed_color_mode": _unlike_most(measured["color_mode"], readable),
        "mixed_bit_depth": _unlike_most(measured["bit_depth"], readable),
    }


def _median(values: Float[np.ndarray, "n"]) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _unlike_most(column: pl.Series, readable: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    values = np.array(column.cast(pl.String).fill_null("").to_list(), dtype=object)
    common = next(iter(_ranked(Counter(values[readable]))), "")
    return readable & (values != common)


def _labels(manifest: Manifest) -> list[list[str]]:
    """The classes of every row; `none` where no label is known."""
    if not manifest.is_multi_label:
        return [[label or "none"] for label in manifest.frame["label"]]
    positive = manifest.labels == 1
    return [[manifest.classes[k] for k in np.flatnonzero(row)] or ["none"] for row in positive]


def _tally(raised: Bool[np.ndarray, "n"], names: Sequence[Sequence[str]]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for row in np.flatnonzero(raised).tolist():
        for name in names[row]:
            counts[name] += 1
    return dict(sorted(counts.items()))


def _ranked(counts: Mapping[Any, int]) -> dict[str, int]:
    """The most frequent first, equal ones by name."""
    return dict(sorted(((str(k), n) for k, n in counts.items()), key=lambda item: (-item[1], item[0])))
