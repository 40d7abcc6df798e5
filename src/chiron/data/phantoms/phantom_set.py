"""What every phantom generator returns: images with their whole truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Finding:
    """One finding or sign as drawn; positions and radius are shares of the image side, from the top left corner."""

    kind: str
    x: float
    y: float
    radius: float
    strength: float


@dataclass(frozen=True)
class PhantomRow:
    """The truth of one image.

    `label` is the given one, wrong where label noise struck; `true_label` is what was drawn. `params` says how the
    image was taken (view, exposure, noise ...); with nothing planted it is independent of the label by construction.
    `planted` says what the dials did. `metadata` is what a data set may tell of a patient (age, sex ...), also
    independent of the label. `labels` are the given ones, 0 or 1 a class, where an image can show several; `label` then
    names those that it shows. `unit_id` is the lesion, empty where the patient is the unit. `findings` is empty for a
    normal image, so it stays out of every table that could be used as an input.
    """

    sample_id: str
    patient_id: str
    label: str
    true_label: str
    params: Mapping[str, float | int | str]
    findings: tuple[Finding, ...]
    unit_id: str = ""
    metadata: Mapping[str, float | int | str] = field(default_factory=dict)
    planted: Mapping[str, float | int | str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """The classes of the given label or labels."""
        return tuple(name for name, value in self.labels.items() if value) if self.labels else (self.label,)


@dataclass(frozen=True)
class PhantomSet:
    """Synthetic images with their ground truth; `masks` maps a name (`lungs`, `finding`, `lesion`) to 0/1 masks."""

    name: str
    classes: tuple[str, ...]
    images: UInt8[np.ndarray, "n size size"] | UInt8[np.ndarray, "n size size 3"]
    masks: Mapping[str, UInt8[np.ndarray, "n size size"]]
    rows: tuple[PhantomRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> np.ndarray:
        """The index of every image's given label in `classes`."""
        return np.array([self.classes.index(row.label) for row in self.rows], dtype=np.int64)

    @property
    def patient_ids(self) -> np.ndarray:
        """The patient of every image."""
        return np.array([row.patient_id for row in self.rows], dtype=np.str_)
