"""Repair: existing splits in which groups stand in several roles become splits that share none, as like them as can be.

Only torn groups move, each as a whole and to one of the roles it stood in or another, so that every role comes back as
near as possible to the class counts that it had. A test set whose mix stays can still be compared with what was
published on it; the prevalence before and after is told all the same, because a leak that goes can raise accuracy.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.core.errors import DataError
from chiron.data.deal import GROUP_WEIGHT, Deal, class_counts
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS


@dataclass(frozen=True)
class RoleState:
    """One split before and after a repair; readable images, shares of each class, and what always saying one is worth.

    `majority_accuracy`: share of the images whose class is the most frequent one of train; None without a train split
    and for several labels an image.
    """

    num_images: int
    num_shared: int  # images of groups that stand in another split as well
    prevalence: dict[str, float]
    majority_accuracy: float | None


@dataclass(frozen=True)
class Repair:
    """The repaired manifest, and what changed."""

    manifest: Manifest
    num_groups: int  # that stood in several splits
    num_moved: int  # images
    before: dict[str, RoleState]
    after: dict[str, RoleState]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "num_groups": self.num_groups,
            "num_moved": self.num_moved,
            "before": {role: vars(state) for role, state in self.before.items()},
            "after": {role: vars(state) for role, state in self.after.items()},
        }


def repair_splits(manifest: Manifest, *, seed: int) -> Repair:
    """The same data with every group in one split.

    Images without a split stay without one. Rows that are unreadable move with their group.

    Raises:
        DataError: there are no splits to repair.
    """
    split = manifest.frame.filter(pl.col("split").is_not_null())
    roles = [role for role in SPLITS if role in set(split["split"])]
    if len(roles) < 2:
        raise DataError(
            f"A repair needs splits that the data comes with. Got {len(roles)}. Leave out --repair to split anew."
        )
    torn = split.filter(pl.col("split").n_unique().over("group_id") > 1)
    before = _described(manifest, roles)
    if not torn.height:
        return Repair(manifest, 0, 0, before, before)
    whole = split.join(torn.select("sample_id"), on="sample_id", how="anti")
    want, start = _counts(manifest, split, roles), _counts(manifest, whole, roles)
    deal = Deal.of(manifest, torn, np.full(len(roles), 1 / len(roles)), seed)
    weight = 1 / np.maximum(want, 1.0)
    weight[:, want.shape[1] // 2 :] *= GROUP_WEIGHT
    deal = replace(deal, want=want, weight=weight, start=start)
    goes_to = dict(zip(deal.groups, (roles[part] for part in deal.solve()), strict=True))
    splits = {
        name: goes_to.get(group, role) if role is not None else None
        for name, group, role in manifest.frame.select("sample_id", "group_id", "split").iter_rows()
    }
    moved = sum(splits[name] != role for name, role in split.select("sample_id", "split").iter_rows())
    told = (
        f"Repaired with seed {seed}: {len(deal.groups):,} groups stood in several splits; {moved:,} images moved, and "
        "each group stands in one."
    )
    repaired = manifest.with_splits(splits, notes=[told])
    return Repair(repaired, len(deal.groups), moved, before, _described(repaired, roles))


def _counts(manifest: Manifest, frame: pl.DataFrame, roles: list[str]) -> Float[np.ndarray, "roles features"]:
    """Images of every class in each role, then groups that show it; as a Deal counts them."""
    rows = []
    for role in roles:
        part = Deal.of(manifest, frame.filter(pl.col("split") == role), np.ones(1), seed=0)
        rows.append(part.counts.sum(axis=0))
    return np.array(rows)


def _described(manifest: Manifest, roles: list[str]) -> dict[str, RoleState]:
    frame = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_not_null())
    frame = frame.with_columns((pl.col("split").n_unique().over("group_id") > 1).alias("_shared"))
    shown = class_counts(manifest, frame)
    inside = {role: (frame["split"] == role).to_numpy() for role in roles}
    majority = None
    if "train" in roles and not manifest.is_multi_label:
        majority = int(shown[inside["train"]].sum(axis=0).argmax())
    described = {}
    for role, rows in inside.items():
        share = shown[rows].mean(axis=0) if rows.any() else None
        described[role] = RoleState(
            num_images=int(rows.sum()),
            num_shared=int(frame["_shared"].to_numpy()[rows].sum()),
            prevalence={} if share is None else {name: float(share[k]) for k, name in enumerate(manifest.classes)},
            majority_accuracy=None if majority is None or share is None else float(share[majority]),
        )
    return described
