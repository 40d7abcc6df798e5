"""Splits: whole groups are dealt to roles so that every role gets its share of every class.

Large groups first, each goes where it lowers most the sum over roles and classes of (have - want)^2 / want, counted in
images and, with a small weight, in groups. For groups of one image of one class this is the best possible deal.
Ties are decided by hashes of (seed, group_id), so that the order of rows has no influence.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiron.core.errors import DataError
from chiron.core.hashing import seed_of
from chiron.data.manifest import SPLITS, Manifest

UNASSIGNED = "unassigned"
_GROUP_WEIGHT = 0.01  # shares of images come first; among equal deals the one with fair shares of groups wins
_FITTING_SPLITS = ("train", "val", "cal")  # rows here must be usable; test and external keep what failed, to count it


def assign_splits(
    manifest: Manifest, *, fractions: Mapping[str, float], seed: int, keep_existing: bool = True
) -> Manifest:
    """The manifest with a split for every image that is readable and labeled; no group is divided.

    Existing splits stay. A role that has a fraction and no image yet is carved from train; its share there is its
    fraction relative to the roles that are being divided. Images without a split are dealt along with train.

    Args:
        fractions: role -> share of the images (and groups) of every class; roles with 0 get nothing.
        keep_existing: respect the splits that the data set comes with; otherwise deal everything anew.
    Raises:
        DataError: fractions that are none, nothing to divide, or a role that is there or has a fraction, left with no
            group of a class.
    """
    wanted = _checked(fractions)
    usable = (pl.col("status") == "ok") & pl.any_horizontal(pl.col(manifest.label_columns).is_not_null())
    before = pl.col("split") if keep_existing else pl.lit(None, pl.String)
    frame = manifest.frame.with_columns(
        usable.alias("_usable"), pl.when(usable | ~before.is_in(_FITTING_SPLITS)).then(before).alias("split")
    )
    existing = set(frame.filter("_usable")["split"].drop_nulls())
    missing = [role for role in wanted if role not in existing]
    notes: list[str] = []
    if missing or frame.filter(pl.col("_usable") & pl.col("split").is_null()).height:
        frame, notes = _divide(manifest, frame, wanted, missing, seed)
    done = manifest.with_splits(dict(frame.select("sample_id", "split").iter_rows()), notes=notes)
    _require_every_class(done, wanted)
    if not notes:
        return done
    points = 100 * share_deviation(done, ["train", *missing])
    told = f"A class's share in one of them differs from its share in all of them by up to {points:.2f} points."
    return replace(done, notes=(*done.notes, told))


def split_summary(manifest: Manifest) -> dict[str, dict[str, dict[str, Any]]]:
    """role -> class -> images, groups, and share of the role's images; readable images only.

    Images without a role stand under "unassigned". Of multi-label data the images that show the class are counted.
    """
    frame = manifest.frame.filter(pl.col("status") == "ok").with_columns(pl.col("split").fill_null(UNASSIGNED))
    shown, groups = _class_counts(manifest, frame), frame["group_id"].to_numpy()
    summary = {}
    for role in (*SPLITS, UNASSIGNED):
        inside = (frame["split"] == role).to_numpy()
        if inside.any():
            summary[role] = {
                name: {
                    "images": int(shown[inside, k].sum()),
                    "groups": len(set(groups[inside & (shown[:, k] > 0)])),
                    "share": float(shown[inside, k].mean()),
                }
                for k, name in enumerate(manifest.classes)
            }
    return summary


def share_deviation(manifest: Manifest, roles: Collection[str] = SPLITS) -> float:
    """The largest distance of a class's share in one of `roles` from its share in all of them (0 is best)."""
    frame = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_in(list(roles)))
    shown = _class_counts(manifest, frame)
    parts = [shown[(frame["split"] == role).to_numpy()] for role in frame["split"].unique()]
    return max((float(np.abs(part.mean(axis=0) - shown.mean(axis=0)).max()) for part in parts), default=0.0)


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    strangers = sorted(set(fractions) - set(SPLITS))
    if strangers:
        raise DataError(f"Fractions must be of {', '.join(SPLITS)}. Got {strangers[0]!r}.")
    if any(not 0 <= share <= 1 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"Fractions must lie in 0..1 and sum to 1. Got {dict(fractions)}.")
    return {role: fractions[role] for role in SPLITS if fractions.get(role)}


def _class_counts(manifest: Manifest, frame: pl.DataFrame) -> Int[np.ndarray, "n classes"]:
    """1 where a row shows the class."""
    labels = replace(manifest, frame=frame.with_columns(pl.lit(None, pl.String).alias("split"))).labels
    return (labels == 1).astype(int) if labels.ndim == 2 else (labels[:, None] == np.arange(len(manifest.classes))) * 1


def _divide(
    manifest: Manifest, frame: pl.DataFrame, wanted: dict[str, float], missing: list[str], seed: int
) -> tuple[pl.DataFrame, list[str]]:
    """Deals the groups of train and of images without a split to train and the missing roles; and what to tell of it.

    A group that reaches into a kept role is not dealt: its unsplit images go there, its train images stay in train.
    """
    in_pool = pl.col("_usable") & (pl.col("split").is_null() | (pl.col("split") == "train"))
    kept = frame.filter(pl.col("split").is_not_null() & (pl.col("split") != "train"))
    anchors = {
        group: min(roles, key=SPLITS.index)
        for group, roles in kept.group_by("group_id").agg(pl.col("split").unique()).iter_rows()
    }
    free = frame.filter(in_pool & ~pl.col("group_id").is_in(list(anchors)))
    if "train" not in wanted or not free.height:
        got = "no fraction of train" if free.height else "no image that is free to be dealt"
        raise DataError(
            f"Splitting needs a fraction of train and images to make {', '.join(missing) or 'it'} from. Got {got}. "
            "Give train a fraction, or split anew without the existing splits (--ignore-existing)."
        )
    roles = ["train", *[role for role in missing if role != "train"]]
    shares = np.array([wanted[role] for role in roles]) / sum(wanted[role] for role in roles)
    deal = _Deal.of(manifest, free, shares, seed)
    goes_to = anchors | dict(zip(deal.groups, (roles[index] for index in deal.solve()), strict=True))
    splits = [
        (split if split and group in anchors else goes_to[group]) if free_row else split
        for group, split, free_row in frame.select("group_id", "split", in_pool.alias("free")).iter_rows()
    ]
    parts = ", ".join(f"{role} {share:.1%}" for role, share in zip(roles, shares, strict=True))
    return frame.with_columns(pl.Series("split", splits, pl.String)), [
        f"Split with seed {seed}: {free.height:,} images in {len(deal.groups):,} groups dealt to {parts}."
    ]


def _require_every_class(manifest: Manifest, wanted: Collection[str]) -> None:
    """Refuses a role, there or wanted, without a group of a class; an external set may lack classes."""
    summary = split_summary(manifest)
    roles = [role for role in (*SPLITS, UNASSIGNED) if role in summary or role in wanted]
    groups = {role: {name: cell["groups"] for name, cell in summary.get(role, {}).items()} for role in roles}
    for role in roles:
        for name in manifest.classes if role not in ("external", UNASSIGNED) else ():
            if not groups[role].get(name):
                counts = ", ".join(f"{other} {groups[other].get(name, 0)}" for other in roles)
                raise DataError(
                    f"Every split must hold at least one group of every class. Got none of {name!r} in {role} "
                    f"(groups of it: {counts}). Add images, join classes, ask for fewer splits, or split anew "
                    "without the existing splits (--ignore-existing)."
                )


@dataclass
class _Deal:
    """Groups to be dealt to roles. `counts[g]`: images of every class in group g, then 1 for every class in it."""

    groups: list[str]
    counts: Float[np.ndarray, "groups features"]
    want: Float[np.ndarray, "roles features"]
    weight: Float[np.ndarray, "roles features"]  # 1 / want; less for groups

    @classmethod
    def of(cls, manifest: Manifest, frame: pl.DataFrame, shares: Float[np.ndarray, "roles"], seed: int) -> "_Deal":
        names = sorted(set(frame["group_id"]), key=lambda name: (seed_of("split", seed, name), name))
        place = {name: index for index, name in enumerate(names)}
        shown = _class_counts(manifest, frame)
        if manifest.is_multi_label:  # all images count as one more class, as some show none
            shown = np.hstack([shown, np.ones((len(shown), 1), int)])
        images = np.zeros((len(names), shown.shape[1]))
        np.add.at(images, [place[name] for name in frame["group_id"]], shown)
        order = np.argsort(-images.sum(axis=1), kind="stable")  # large groups first; equal ones in the hashes' order
        counts = np.hstack([images, images > 0])[order]
        want = shares[:, None] * counts.sum(axis=0)
        weight = np.divide(1.0, want, out=np.zeros_like(want), where=want > 0)
        weight[:, images.shape[1] :] *= _GROUP_WEIGHT
        return cls([names[index] for index in order], counts, want, weight)

    def solve(self) -> list[int]:
        """The role of every group."""
        have = np.zeros_like(self.want)
        role_of = np.zeros(len(self.groups), int)
        for group, counts in enumerate(self.counts):
            cost = ((2 * (have - self.want) + counts) * counts * self.weight).sum(axis=1)
            role_of[group] = np.argmin(cost)
            have[role_of[group]] += counts
        self._fill_empty(role_of, have)
        return role_of.tolist()

    def _fill_empty(self, role_of: Int[np.ndarray, "groups"], have: Float[np.ndarray, "roles features"]) -> None:
        """Gives a role without a class one group of it, from the role that has most, where that leaves another."""
        for feature in range(have.shape[1] // 2, have.shape[1]):
            for role in np.flatnonzero(have[:, feature] == 0):
                able = (role_of == np.argmax(have[:, feature])) & (self.counts[:, feature] > 0)
                change = np.where(able, self._change_by_moving(role_of, have)[:, role], np.inf)
                if np.isfinite(change).any():
                    self._move(role_of, have, int(np.argmin(change)), int(role))

    def _change_by_moving(
        self, role_of: Int[np.ndarray, "groups"], have: Float[np.ndarray, "roles features"]
    ) -> Float[np.ndarray, "groups roles"]:
        """How the sum changes when a group moves to a role; infinite where its old role would lose a class."""
        slope = 2 * self.counts @ ((have - self.want) * self.weight).T
        curve = self.counts**2 @ self.weight.T
        rows = np.arange(len(role_of))
        change = slope + curve + (curve - slope)[rows, role_of][:, None]
        change = change.round(9)  # so that equal moves are equal on every processor, and the first one is taken
        change[rows, role_of] = 0.0
        half = have.shape[1] // 2
        loses = ((self.counts[:, half:] > 0) & (have[role_of, half:] < 2)).any(axis=1)
        change[loses] = np.inf
        return change

    def _move(self, role_of: np.ndarray, have: np.ndarray, group: int, role: int) -> None:
        have[role_of[group]] -= self.counts[group]
        have[role] += self.counts[group]
        role_of[group] = role
