"""Dealing: whole groups go to parts (splits, folds) so that every part gets its share of every class.

Large groups first, each goes where it lowers most the sum over parts and classes of (have - want)^2 / want, counted in
images and, with a small weight, in groups. For groups of one image of one class this is the best possible deal.
Where parts are equally good the emptiest one gets the group. Groups of one size come in the order of hashes of
(seed, group_id), so that the order of rows has no influence. Ids that are keyed, as those of DICOM headers, are other
ones in each project; the pixels of the group's images take their place, so that the same data are dealt alike.
"""

import re
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiron.core.hashing import seed_of
from chiron.data.manifest import Manifest

_KEYED = re.compile(r"(?:[a-z]-)*[0-9a-f]{12}")  # an id of `core.hashing.keyed_hash`
GROUP_WEIGHT = 0.01  # shares of images come first; among equal deals the one with fair shares of groups wins


def class_counts(manifest: Manifest, frame: pl.DataFrame) -> Int[np.ndarray, "n classes"]:
    """1 where a row shows the class."""
    labels = replace(manifest, frame=frame.with_columns(pl.lit(None, pl.String).alias("split"))).labels
    return (labels == 1).astype(int) if labels.ndim == 2 else (labels[:, None] == np.arange(len(manifest.classes))) * 1


def _lasting_names(frame: pl.DataFrame) -> dict[str, str]:
    """group_id -> what names the group in every project: an id that is keyed there gives way to the group's pixels."""
    if "pixels_sha256" not in frame.columns:
        return {name: name for name in frame["group_id"].unique()}
    pixels = frame.group_by("group_id").agg(pl.col("pixels_sha256").min())
    return {name: digest if digest and _KEYED.fullmatch(name) else name for name, digest in pixels.iter_rows()}


@dataclass
class Deal:
    """Groups to be dealt to parts. `counts[g]`: images of every class in group g, then 1 for every class in it."""

    groups: list[str]
    counts: Float[np.ndarray, "groups features"]
    want: Float[np.ndarray, "parts features"]
    weight: Float[np.ndarray, "parts features"]  # 1 / want; less for groups
    start: Float[np.ndarray, "parts features"]  # what the parts hold already

    @classmethod
    def of(cls, manifest: Manifest, frame: pl.DataFrame, shares: Float[np.ndarray, "_parts"], seed: int) -> "Deal":
        """The groups of `frame`, rows of `manifest`; `shares` sum to 1, one a part."""
        said = _lasting_names(frame)
        names = sorted(said, key=lambda name: (seed_of("split", seed, said[name]), said[name], name))
        place = {name: index for index, name in enumerate(names)}
        shown = class_counts(manifest, frame)
        if manifest.is_multi_label:  # all images count as one more class, as some show none
            shown = np.hstack([shown, np.ones((len(shown), 1), int)])
        images = np.zeros((len(names), shown.shape[1]))
        np.add.at(images, [place[name] for name in frame["group_id"]], shown)
        order = np.argsort(-images.sum(axis=1), kind="stable")  # large groups first; equal ones in the hashes' order
        counts = np.hstack([images, images > 0])[order]
        want = shares[:, None] * counts.sum(axis=0)
        weight = np.divide(1.0, want, out=np.zeros_like(want), where=want > 0)
        weight[:, images.shape[1] :] *= GROUP_WEIGHT
        return cls([names[index] for index in order], counts, want, weight, np.zeros_like(want))

    @property
    def shows(self) -> Float[np.ndarray, "groups _classes"]:
        """1 where a group holds a class."""
        return self.counts[:, self.counts.shape[1] // 2 :]

    def solve(self) -> list[int]:
        """The part of every group."""
        have = self.start.copy()
        part_of = np.zeros(len(self.groups), int)
        for group, counts in enumerate(self.counts):
            cost = ((2 * (have - self.want) + counts) * counts * self.weight).sum(axis=1).round(9)
            equal = np.flatnonzero(cost == cost.min())
            part_of[group] = equal[np.argmin(have[equal].sum(axis=1) / self.want[equal].sum(axis=1))]
            have[part_of[group]] += counts
        self._fill_empty(part_of, have)
        return part_of.tolist()

    def _fill_empty(self, part_of: Int[np.ndarray, "groups"], have: Float[np.ndarray, "parts features"]) -> None:
        """Gives a part without a class one group of it, from the part that has most, where that leaves another."""
        for feature in range(have.shape[1] // 2, have.shape[1]):
            for part in np.flatnonzero(have[:, feature] == 0):
                able = (part_of == np.argmax(have[:, feature])) & (self.counts[:, feature] > 0)
                change = np.where(able, self._change_by_moving(part_of, have)[:, part], np.inf)
                if np.isfinite(change).any():
                    self._move(part_of, have, int(np.argmin(change)), int(part))

    def _change_by_moving(
        self, part_of: Int[np.ndarray, "groups"], have: Float[np.ndarray, "parts features"]
    ) -> Float[np.ndarray, "groups parts"]:
        """How the sum changes when a group moves to a part; infinite where its old part would lose a class."""
        slope = 2 * self.counts @ ((have - self.want) * self.weight).T
        curve = self.counts**2 @ self.weight.T
        rows = np.arange(len(part_of))
        change = slope + curve + (curve - slope)[rows, part_of][:, None]
        change = change.round(9)  # so that equal moves are equal on every processor, and the first one is taken
        change[rows, part_of] = 0.0
        loses = ((self.shows > 0) & (have[part_of, have.shape[1] // 2 :] < 2)).any(axis=1)
        change[loses] = np.inf
        return change

    def _move(self, part_of: np.ndarray, have: np.ndarray, group: int, part: int) -> None:
        have[part_of[group]] -= self.counts[group]
        have[part] += self.counts[group]
        part_of[group] = part
