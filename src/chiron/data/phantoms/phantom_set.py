"""What every phantom generator returns: images with their whole truth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Finding:
    """One finding as drawn; positions and radius are shares of the image side, from the top left corner."""

    kind: str
    x: float
    y: float
    radius: float
    strength: float


@dataclass(frozen=True)
class PhantomRow:
    """The truth of one image.

    `params` says how the image was taken (view, exposure, noise ...) and is independent of the label by construction.
    `findings` is empty for a normal image, so it stays out of every table that could be used as an input.
    """

    sample_id: str
    patient_id: str
    label: str
    params: Mapping[str, float | int | str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class PhantomSet:
    """Synthetic images with their ground truth; `masks` maps a name (`lungs`, `finding`) to 0/1 masks."""

    name: str
    classes: tuple[str, ...]
    images: UInt8[np.ndarray, "n size size"]
    masks: Mapping[str, UInt8[np.ndarray, "n size size"]]
    rows: tuple[PhantomRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> np.ndarray:
        """The index of every image's label in `classes`."""
        return np.array([self.classes.index(row.label) for row in self.rows], dtype=np.int64)

    @property
    def patient_ids(self) -> np.ndarray:
        """The patient of every image."""
        return np.array([row.patient_id for row in self.rows], dtype=np.str_)
