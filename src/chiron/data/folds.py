"""Folds: the groups are dealt to k folds of equal shares; one fold is held out, as test or as val."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl

from chiron.core.errors import DataError
from chiron.data.deal import Deal
from chiron.data.manifest import Manifest
from chiron.data.split import assign_splits, checked_fractions, is_usable

FoldRole = Literal["test", "val"]
_DEALT = ("train", "val")  # of the data's own splits; test, cal and external stay what they are in every fold


def assign_fold(
    manifest: Manifest,
    *,
    folds: int,
    fold: int,
    role: FoldRole,
    fractions: Mapping[str, float],
    seed: int,
    keep_existing: bool = True,
) -> Manifest:
    """The manifest with fold `fold` held out; over all folds every dealt image is held out exactly once.

    `test`: the fold is test; val (and cal) are carved from the other folds. `val`: the fold is val, the others train;
    test (and cal) are carved before, the same for every fold. The data's own train and val are dealt together.

    Args:
        fractions: as for `assign_splits`; the role of the fold gets one fold instead of its fraction.
        keep_existing: respect the test, cal and external splits that the data set comes with.
    Raises:
        DataError: a fold that there is not, one that would meet a test split of the data's own, a manifest of another
            fold, or a fold or split left with no group of a class.
    """
    if not 0 <= fold < folds or folds < 2:
        raise DataError(f"There must be two folds or more, numbered from 0. Got fold {fold} of {folds}.")
    fractions = checked_fractions(fractions)
    if keep_existing and manifest.fold is not None:
        return _same_fold(manifest, fold, fractions, seed)
    base, told = _dealt_together(manifest, keep_existing)
    if role == "test":
        _require_no_own_test(base)
    else:
        base = _set_aside(base, fractions, seed)
    fold_of = _deal_folds(base, folds, seed)
    splits = dict(base.frame.select("sample_id", "split").iter_rows())
    splits |= {name: role for name, number in fold_of.items() if number == fold}
    told.append(
        f"Fold {fold} of {folds}, numbered from 0, is {role}: {len(fold_of):,} images in whole groups dealt to "
        f"folds of equal shares with seed {seed}."
    )
    held_out = replace(base.with_splits(splits, notes=told), fold=fold)
    others = {name: share for name, share in fractions.items() if name != role}
    total = sum(others.values())
    return assign_splits(held_out, fractions={name: share / total for name, share in others.items()}, seed=seed)


def cross_fit_folds(manifest: Manifest, *, folds: int, seed: int) -> list[Manifest]:
    """Manifests for as many networks: each holds another fold of train and cal out as its cal.

    Over all folds every dealt image is held out exactly once. Val, test and external stay what they are in all of them,
    so that val selects for every network, and no network is selected by what it is calibrated on.

    Raises:
        DataError: a fold left with no group of a class, or nothing to deal.
    """
    joined = pl.when(pl.col("split") == "cal").then(pl.lit("train")).otherwise(pl.col("split")).alias("split")
    base = replace(manifest, frame=manifest.frame.with_columns(joined))
    fold_of = _deal_folds(base, folds, seed)
    splits = dict(base.frame.select("sample_id", "split").iter_rows())
    return [
        replace(
            base.with_splits(splits | {name: "cal" for name, number in fold_of.items() if number == fold}), fold=fold
        )
        for fold in range(folds)
    ]


def _same_fold(manifest: Manifest, fold: int, fractions: Mapping[str, float], seed: int) -> Manifest:
    """A manifest of a fold, as a run or `chiron data split --folds` writes it, stays what it is."""
    if manifest.fold != fold:
        raise DataError(
            f"A manifest of one fold stays that fold. Got fold {manifest.fold}, and fold {fold} is asked for. "
            f"Set data.fold={manifest.fold}, leave data.folds out, or divide anew without the existing splits "
            "(--ignore-existing, data.keep_existing_splits: false)."
        )
    return assign_splits(manifest, fractions=fractions, seed=seed)


def _dealt_together(manifest: Manifest, keep_existing: bool) -> tuple[Manifest, list[str]]:
    """The manifest with its own val joined to train, or without any split; and what to tell of it."""
    frame = manifest.frame
    if not keep_existing:
        return replace(manifest.with_splits({}), fold=None), []
    own_val = frame.filter(pl.col("split") == "val").height
    joined = pl.when(pl.col("split").is_in(_DEALT)).then(pl.lit("train")).otherwise(pl.col("split")).alias("split")
    told = [f"The val split that the data set comes with is dealt to the folds too: {own_val:,} images."]
    return replace(manifest, frame=frame.with_columns(joined)), told if own_val else []


def _require_no_own_test(manifest: Manifest) -> None:
    own = manifest.select("test").frame.height
    if own:
        raise DataError(
            "Folds that are tested one after the other need a data set without a test split of its own. "
            f"Got {own:,} images of test. Hold out val instead (--fold-role val, data.fold_role: val), or divide anew "
            "without the existing splits (--ignore-existing, data.keep_existing_splits: false)."
        )


def _set_aside(manifest: Manifest, fractions: Mapping[str, float], seed: int) -> Manifest:
    """The manifest with every wanted split but train and val, which no fold changes; the rest is train."""
    shares = {name: share for name, share in fractions.items() if name not in _DEALT}
    done = assign_splits(manifest, fractions=shares | {"train": 1 - sum(shares.values())}, seed=seed)
    carved = set(done.frame["split"].drop_nulls()) - set(manifest.frame["split"].drop_nulls()) - {"train"}
    return done if carved else replace(done, notes=manifest.notes)


def _deal_folds(manifest: Manifest, folds: int, seed: int) -> dict[str, int]:
    """sample_id -> fold, for all usable images of train or without a split whose group is in no other split."""
    in_pool = pl.col("split").is_null() | (pl.col("split") == "train")
    kept = manifest.frame.filter(~in_pool)["group_id"].unique()
    free = manifest.frame.filter(is_usable(manifest), in_pool, ~pl.col("group_id").is_in(kept.implode()))
    if not free.height:
        raise DataError("Folds need images that are free to be dealt. Got none in train or without a split.")
    deal = Deal.of(manifest, free, np.full(folds, 1 / folds), seed)
    numbers = deal.solve()
    _require_every_class_in_folds(deal, numbers, manifest.classes, folds)
    fold_of = dict(zip(deal.groups, numbers, strict=True))
    return {sample: fold_of[group] for sample, group in free.select("sample_id", "group_id").iter_rows()}


def _require_every_class_in_folds(deal: Deal, numbers: list[int], classes: Sequence[str], folds: int) -> None:
    groups = np.zeros((folds, len(classes)), int)
    np.add.at(groups, numbers, deal.shows[:, : len(classes)].astype(int))
    if groups.all():
        return
    must = f"Each of {folds} folds must hold at least one group of every class."
    totals = groups.sum(axis=0)
    rarest = int(totals.argmin())
    if totals[rarest] < folds:
        listed = ", ".join(f"{name} {total:,}" for name, total in zip(classes, totals, strict=True))
        fewer = f"Ask for {totals[rarest]} folds or fewer, add" if totals[rarest] >= 2 else "Add"
        raise DataError(
            f"{must} Got {totals[rarest]} of {classes[rarest]!r} (groups: {listed}). {fewer} images, or join classes."
        )
    fold, k = (int(place) for place in np.argwhere(groups == 0)[0])
    listed = ", ".join(f"fold {number} {count}" for number, count in enumerate(groups[:, k]))
    raise DataError(
        f"{must} Got none of {classes[k]!r} in fold {fold} (groups of it: {listed}). Groups that hold several "
        "classes could not be dealt better. Ask for fewer folds, or add images."
    )
