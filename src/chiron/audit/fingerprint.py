"""The fingerprint of a data set: sizes, gray values, classes, groups and gaps, from which settings can be proposed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.audit.facts import ImageFacts
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import AFTER_LABEL, BEFORE_LABEL

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_GRAY_CHROMA = 0.02  # a picture whose channels are closer than this on average shows no color


@dataclass(frozen=True)
class Fingerprint:
    """Numbers of a whole data set; images that cannot be read count in `num_unreadable` and nowhere else.

    Args:
        class_images: readable labeled images by class; of several labels an image those that show the class.
        class_groups: groups by class.
        imbalance: largest class over smallest, in images; None where a class has none.
        widths: quantiles 0, 5, 25, 50, 75, 95 and 100 %, pixels; `heights` and `aspects` (width / height) the same.
        gray_share: share of images without color, whatever the mode of their files.
        channel_mean: over all pixels, every image as heavy as the next, in 0..1; red, green, blue.
        missing: rows without a value by metadata column.
    """

    num_images: int
    num_unreadable: int
    num_unlabeled: int
    num_groups: int
    largest_group: int
    grouping: str
    reader: str
    is_multi_label: bool
    class_images: Mapping[str, int]
    class_groups: Mapping[str, int]
    imbalance: float | None
    splits: Mapping[str, int]
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    aspects: tuple[float, ...]
    color_modes: Mapping[str, int]
    bit_depths: Mapping[str, int]
    file_formats: Mapping[str, int]
    gray_share: float
    channel_mean: tuple[float, float, float]
    channel_std: tuple[float, float, float]
    missing: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def fingerprint(manifest: Manifest, facts: ImageFacts) -> Fingerprint:
    """The fingerprint of a manifest; numbers of gray values come from train where there is such a split.

    Args:
        facts: of all rows of the manifest, in its order.
    """
    frame, measured = manifest.frame, facts.frame
    readable = measured["mean"].is_not_null().to_numpy()
    shows = (
        manifest.labels == 1
        if manifest.is_multi_label
        else manifest.labels[:, None] == np.arange(len(manifest.classes))
    )
    shows = shows & readable[:, None]
    labeled = (manifest.labels.reshape(frame.height, -1) >= 0).any(axis=1)
    groups = frame["group_id"].to_numpy()
    class_images = {name: int(shows[:, k].sum()) for k, name in enumerate(manifest.classes)}
    mean, std = _channels(facts, _fitted_rows(frame, readable))
    seen = measured.filter(pl.Series(readable))
    width, height = (seen[name].to_numpy().astype(np.float64) for name in ("width", "height"))
    metadata = [name for name in frame.columns if name not in (*BEFORE_LABEL, *manifest.label_columns, *AFTER_LABEL)]
    return Fingerprint(
        num_images=frame.height,
        num_unreadable=int((~readable).sum()),
        num_unlabeled=int((~labeled).sum()),
        num_groups=frame["group_id"].n_unique(),
        largest_group=max(Counter(groups).values(), default=0),
        grouping=manifest.grouping,
        reader=manifest.reader,
        is_multi_label=manifest.is_multi_label,
        class_images=class_images,
        class_groups={name: len(set(groups[shows[:, k]])) for k, name in enumerate(manifest.classes)},
        imbalance=max(class_images.values()) / low if (low := min(class_images.values())) else None,
        splits=_counted(frame["split"].drop_nulls()),
        widths=_quantiles(width),
        heights=_quantiles(height),
        aspects=_quantiles(width / height),
        color_modes=_counted(seen["color_mode"]),
        bit_depths=_counted(seen["bit_depth"]),
        file_formats=_counted(seen["file_format"].drop_nulls()),
        gray_share=float((seen["chroma"].to_numpy() < _GRAY_CHROMA).mean()) if seen.height else 0.0,
        channel_mean=mean,
        channel_std=std,
        missing={name: frame[name].null_count() for name in metadata},
    )


def _fitted_rows(frame: pl.DataFrame, readable: np.ndarray) -> np.ndarray:
    """Readable rows of train, or all where there is no such split: what is learned from must not see test."""
    train = (frame["split"] == "train").fill_null(False).to_numpy() & readable
    return train if train.any() else readable


def _channels(facts: ImageFacts, rows: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel over all pixels of the rows; 0 and 1 where there is none."""
    if not rows.any():
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean = facts.channel_mean[rows].astype(np.float64).mean(axis=0)
    variance = facts.channel_square[rows].astype(np.float64).mean(axis=0) - mean**2
    red, green, blue = (round(float(value), 4) for value in mean)
    deep, mid, far = (round(float(value), 4) for value in np.sqrt(np.maximum(variance, 0)))
    return (red, green, blue), (deep, mid, far)


def _quantiles(values: Float[np.ndarray, "_n"]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in np.quantile(values, QUANTILES)) if len(values) else ()


def _counted(column: pl.Series) -> dict[str, int]:
    """How often each value stands, the most frequent first."""
    counts = Counter(map(str, column))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
