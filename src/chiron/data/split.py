"""Splits: whole groups are dealt to roles so that every role gets its share of every class; `data/deal.py` says how."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from chiron.core.errors import DataError
from chiron.data.deal import Deal, class_counts
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import FITTED_SPLITS, SPLITS

UNASSIGNED = "unassigned"


def assign_splits(
    manifest: Manifest, *, fractions: Mapping[str, float], seed: int, keep_existing: bool = True
) -> Manifest:
    """The manifest with a split for every image that is readable and labeled; no group is divided.

    Existing splits stay. A role that has a fraction and no image yet is carved from train; its share there is its
    fraction relative to the roles that are being divided. Images without a split are dealt along with train. Data to
    test on need no train: cal, test and external alone are dealt from images without a split.

    Args:
        fractions: role -> share of the images (and groups) of every class; roles with 0 get nothing.
        keep_existing: respect the splits that the data set comes with; otherwise deal everything anew.
    Raises:
        DataError: fractions that are none, nothing to divide, or a role that is there or has a fraction, left with no
            group of a class; only an external set that the data comes with may lack classes, and of several labels an
            image any split that the data comes with but train: rare findings are absent from small ones, which is told.
    """
    wanted = checked_fractions(fractions)
    usable = is_usable(manifest)
    before = pl.col("split") if keep_existing else pl.lit(None, pl.String)
    frame = manifest.frame.with_columns(
        usable.alias("_usable"), pl.when(usable | ~before.is_in(FITTED_SPLITS)).then(before).alias("split")
    )
    existing = set(frame.filter("_usable")["split"].drop_nulls())
    missing = [role for role in wanted if role not in existing]
    notes: list[str] = []
    if missing or frame.filter(pl.col("_usable") & pl.col("split").is_null()).height:
        frame, notes = _divide(manifest, frame, wanted, missing, seed)
    done = manifest.with_splits(dict(frame.select("sample_id", "split").iter_rows()), notes=notes)
    if not keep_existing:
        done = replace(done, fold=None)
    own = existing - {"train"} if manifest.is_multi_label else existing & {"external"}
    _require_every_class(done, wanted, may_lack=own)
    done = replace(done, notes=(*done.notes, *_lacking(done, own)))
    if not notes:
        return done
    points = 100 * share_deviation(done, ["train", *missing])
    told = f"A class's share in one of them differs from its share in all of them by up to {points:.2f} points."
    return replace(done, notes=(*done.notes, told))


def _lacking(manifest: Manifest, roles: Collection[str]) -> list[str]:
    """Notes on classes of several that no image of a split shows: their ranking is not defined there."""
    summary = split_summary(manifest) if manifest.is_multi_label else {}
    lacking = {
        role: [name for name, cell in summary[role].items() if not cell["groups"]]
        for role in SPLITS
        if role in roles and role in summary
    }
    return [f"Classes that no image of {role} shows: {', '.join(names)}." for role, names in lacking.items() if names]


def is_usable(manifest: Manifest) -> pl.Expr:
    """Whether a row can be learned from and scored: it is readable and has a label."""
    return (pl.col("status") == "ok") & pl.any_horizontal(pl.col(manifest.label_columns).is_not_null())


def checked_fractions(fractions: Mapping[str, float]) -> dict[str, float]:
    """The shares that are not 0, in the order of the roles.

    Raises:
        DataError: a share of something else than a role, outside 0..1, or a sum that is not 1.
    """
    strangers = sorted(set(fractions) - set(SPLITS))
    if strangers:
        raise DataError(f"Fractions must be of {', '.join(SPLITS)}. Got {strangers[0]!r}.")
    if any(not 0 <= share <= 1 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"Fractions must lie in 0..1 and sum to 1. Got {dict(fractions)}.")
    return {role: fractions[role] for role in SPLITS if fractions.get(role)}


def split_summary(manifest: Manifest) -> dict[str, dict[str, dict[str, Any]]]:
    """role -> class -> images, groups, and their shares of the role's images and groups; readable images only.

    Images without a role stand under "unassigned". Of multi-label data the images that show the class are counted.
    Shares of groups sum to more than 1 where groups hold several classes.
    """
    frame = manifest.frame.filter(pl.col("status") == "ok").with_columns(pl.col("split").fill_null(UNASSIGNED))
    shown, groups = class_counts(manifest, frame), frame["group_id"].to_numpy()
    summary = {}
    for role in (*SPLITS, UNASSIGNED):
        inside = (frame["split"] == role).to_numpy()
        if inside.any():
            num_groups = len(set(groups[inside]))
            groups_of = [len(set(groups[inside & (shown[:, k] > 0)])) for k in range(len(manifest.classes))]
            summary[role] = {
                name: {
                    "images": int(shown[inside, k].sum()),
                    "groups": groups_of[k],
                    "share": float(shown[inside, k].mean()),
                    "group_share": groups_of[k] / num_groups,
                }
                for k, name in enumerate(manifest.classes)
            }
    return summary


def split_sizes(manifest: Manifest) -> dict[str, dict[str, int]]:
    """role -> number of images and groups; readable images only."""
    frame = manifest.frame.filter(pl.col("status") == "ok").with_columns(pl.col("split").fill_null(UNASSIGNED))
    parts = {role: frame.filter(pl.col("split") == role) for role in (*SPLITS, UNASSIGNED)}
    return {
        role: {"images": part.height, "groups": part["group_id"].n_unique()}
        for role, part in parts.items()
        if part.height
    }


def imbalance(manifest: Manifest) -> dict[str, Any]:
    """The largest and the smallest class, and the ratio of their images (1 is balanced, None: a class has none).

    Readable images only; of multi-label data the images that show the class.
    """
    counts = class_counts(manifest, manifest.frame.filter(pl.col("status") == "ok")).sum(axis=0)
    largest, smallest = int(np.argmax(counts)), int(np.argmin(counts))
    return {
        "largest": {"class": manifest.classes[largest], "images": int(counts[largest])},
        "smallest": {"class": manifest.classes[smallest], "images": int(counts[smallest])},
        "ratio": float(counts[largest] / counts[smallest]) if counts[smallest] else None,
    }


def groups_of_classes(manifest: Manifest) -> dict[str, int]:
    """How many groups show each class; readable images only."""
    frame = manifest.frame.filter(pl.col("status") == "ok")
    shown, groups = class_counts(manifest, frame), frame["group_id"].to_numpy()
    return {name: len(set(groups[shown[:, k] > 0])) for k, name in enumerate(manifest.classes)}


def share_deviation(manifest: Manifest, roles: Collection[str] = SPLITS) -> float:
    """The largest distance of a class's share in one of `roles` from its share in all of them (0 is best)."""
    frame = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_in(list(roles)))
    shown = class_counts(manifest, frame)
    parts = [shown[(frame["split"] == role).to_numpy()] for role in frame["split"].unique()]
    return max((float(np.abs(part.mean(axis=0) - shown.mean(axis=0)).max()) for part in parts), default=0.0)


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
    trains = not wanted.keys().isdisjoint(("train", "val")) or "train" in set(free["split"]) or not missing
    if (trains and "train" not in wanted) or not free.height:
        got = "no fraction of train" if free.height else "no image that is free to be dealt"
        raise DataError(
            f"Splitting needs a fraction of train and images to make {', '.join(missing) or 'it'} from. Got {got}. "
            "Give train a fraction, or split anew without the existing splits (--ignore-existing)."
        )
    roles = ["train"] * trains + [role for role in missing if role != "train"]
    shares = np.array([wanted[role] for role in roles]) / sum(wanted[role] for role in roles)
    deal = Deal.of(manifest, free, shares, seed)
    goes_to = anchors | dict(zip(deal.groups, (roles[index] for index in deal.solve()), strict=True))
    splits = [
        (split if split and group in anchors else goes_to[group]) if free_row else split
        for group, split, free_row in frame.select("group_id", "split", in_pool.alias("free")).iter_rows()
    ]
    parts = ", ".join(f"{role} {share:.1%}" for role, share in zip(roles, shares, strict=True))
    return frame.with_columns(pl.Series("split", splits, pl.String)), [
        f"Split with seed {seed}: {free.height:,} images in {len(deal.groups):,} groups dealt to {parts}."
    ]


def _require_every_class(manifest: Manifest, wanted: Collection[str], may_lack: Collection[str]) -> None:
    """Refuses a role, there or wanted, without a group of a class."""
    summary = split_summary(manifest)
    roles = [role for role in (*SPLITS, UNASSIGNED) if role in summary or role in wanted]
    groups = {role: {name: cell["groups"] for name, cell in summary.get(role, {}).items()} for role in roles}
    for role in roles:
        for name in manifest.classes if role not in (UNASSIGNED, *may_lack) else ():
            if not groups[role].get(name):
                counts = ", ".join(f"{other} {groups[other].get(name, 0)}" for other in roles)
                raise DataError(
                    f"Every split must hold at least one group of every class. Got none of {name!r} in {role} "
                    f"(groups of it: {counts}). Add images, join classes, ask for fewer splits, or split anew "
                    "without the existing splits (--ignore-existing)."
                )
