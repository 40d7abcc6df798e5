"""Data verbs: inspect a data set, split it, draw phantoms; and the road from a recipe to a manifest for training."""

import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from chiron.audit.leaks import LeakReport, find_leaks, require_no_leaks
from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.core.errors import DataError, SpecError
from chiron.core.files import require_new, require_outside, write_text
from chiron.data.attributes import subgroup_columns
from chiron.data.folds import FoldRole, assign_fold
from chiron.data.identity import label_conflicts
from chiron.data.manifest import Manifest
from chiron.data.private import Privacy, scrubbed
from chiron.data.reading import read_dataset
from chiron.data.repair import Repair, repair_splits
from chiron.data.split import assign_splits, groups_of_classes, imbalance, split_sizes, split_summary
from chiron.data.split_by import SplitBy, split_by
from chiron.data.split_tables import remove_splits, save_splits
from chiron.metrics.metric import metrics_for, registered_metrics
from chiron.spec.labels import LabelSpace
from chiron.spec.layout import Layout
from chiron.spec.recipe import DataRecipe, Recipe
from chiron.workflows.check import multi_label_problems, single_label_problems
from chiron.workflows.privacy import as_kept

log = logging.getLogger("chiron.data")
_RECOGNIZED = Layout()


@dataclass(frozen=True)
class Inspection:
    """What a data set holds, and what is wrong with it."""

    manifest: Manifest
    leaks: LeakReport


@dataclass(frozen=True)
class SplitData:
    """The manifests that were written, one or one a fold, and what a repair changed before."""

    manifests: list[Manifest]
    repair: Repair | None = None


def inspect_data(data: Path, layout: Layout = _RECOGNIZED) -> Inspection:
    """Reads a data set and looks for leaks between the splits it comes with; nothing is written."""
    return inspect_manifest(read_dataset(data, layout, conflicts="note"))


def split_data(
    data: Path,
    out: Path,
    *,
    fractions: dict[str, float],
    layout: Layout = _RECOGNIZED,
    seed: int = 0,
    keep_existing: bool = True,
    folds: int | None = None,
    fold_role: FoldRole = "test",
    repair: bool = False,
    by: SplitBy | None = None,
    privacy: Privacy = "auto",
    force: bool = False,
) -> SplitData:
    """Writes a manifest with grouped, stratified splits, and a table a split, to the folder `out`.

    Args:
        folds: write that many manifests instead, to `out/fold-0`, `out/fold-1`, ...; each holds out another fold.
        fold_role: what the held-out fold is.
        repair: first move groups that stand in several existing splits into one each.
        by: make the test split of whole sites, or of everything after a day, and the other splits of the rest.
        privacy: whether the manifests hold names, see `chiron.data.private`.
    Raises:
        DataError: a split or fold that cannot be made; then nothing is written.
    """
    require_new(out, force=force)
    require_outside(out, data)
    if repair and not keep_existing:
        raise SpecError("A repair keeps existing splits. Got --repair with --ignore-existing. Leave one of them out.")
    if by is not None and (folds is not None or repair):
        raise SpecError("A split by site or date is one division of its own. Got --folds or --repair. Leave it out.")
    read = read_dataset(data, replace(layout, id_key=partial(sharing_key, project_folder(out))))
    repaired = repair_splits(read, seed=seed) if repair else None
    read = read if repaired is None else repaired.manifest
    how: dict[str, Any] = {"fractions": fractions, "seed": seed, "keep_existing": keep_existing}
    if by is not None:
        made = {out: split_by(read, by, fractions=fractions, seed=seed)}
    elif folds is None:
        made = {out: assign_splits(read, **how)}
    else:
        made = {
            out / f"fold-{fold}": assign_fold(read, folds=folds, fold=fold, role=fold_role, **how)
            for fold in range(folds)
        }
    made = {folder: as_kept(manifest, privacy, out) for folder, manifest in made.items()}
    for folder, manifest in made.items():
        save_splits(manifest, folder)
    for folder in {out, *out.glob("fold-[0-9]*")} - set(made):  # with --force, of a division that was here before
        if not data.resolve().is_relative_to(folder.resolve()):
            remove_splits(folder)
    return SplitData(list(made.values()), repaired)


def prepare(recipe: Recipe, data: Path, layout: Layout = _RECOGNIZED) -> tuple[Manifest, LabelSpace]:
    """The manifest that a recipe trains on: read, checked for broken images, split, free of leaks.

    Args:
        layout: where images and metadata of a table lie; how to read them the recipe says.
    Raises:
        DataError: broken images (unless the recipe excludes them), or a split that cannot be made.
        LeakError: a leak that the recipe does not accept by name.
    """
    asked = recipe.data
    layout = replace(layout, reader=asked.reader, labels=asked.labels, groups=asked.groups, group_by=asked.group_by)
    manifest = read_dataset(data, layout)
    if recipe.labels.names:
        manifest = manifest.with_class_names(recipe.labels.names)
    for note in scrubbed(manifest.notes, manifest):  # a log may be shared; names stand in the manifest
        log.info("%s", note)
    labels = label_space(recipe, manifest)
    _require_readable(manifest, recipe)
    subgroup_columns(manifest.frame.columns, manifest.roles, recipe.evaluate.subgroups)  # told before training
    manifest = _split(manifest, recipe.data)
    if accepted := require_no_leaks(manifest, recipe.data.accept_leaks).accepted:
        log.warning("trained in spite of %d leaks, which the run's recipe names", len(accepted))
    return manifest, labels


def _split(manifest: Manifest, recipe: DataRecipe) -> Manifest:
    how: dict[str, Any] = {
        "fractions": {str(role): share for role, share in recipe.fractions.items()},
        "seed": recipe.split_seed,
        "keep_existing": recipe.keep_existing_splits,
    }
    if recipe.folds is None or recipe.fold is None:
        return assign_splits(manifest, **how)
    return assign_fold(manifest, folds=recipe.folds, fold=recipe.fold, role=recipe.fold_role, **how)


def label_space(recipe: Recipe, manifest: Manifest) -> LabelSpace:
    """The classes of the manifest with the meaning that the recipe gives them.

    Raises:
        DataError: two classes and no positive one, a name that the data does not have, or settings of the recipe that
            belong to one class an image where an image can have several, or the other way round.
    """
    names, labels = manifest.classes, recipe.labels
    descriptions = {name: text for name, text in labels.descriptions.items() if name in names}
    if manifest.is_multi_label:
        if problems := multi_label_problems(recipe):
            raise DataError(
                f"An image of these data can have several classes or none ({', '.join(names[:5])}"
                f"{', ...' if len(names) > 5 else ''}). {' '.join(problems.values())}"
            )
        return LabelSpace(kind="multi_label", names=names, descriptions=descriptions, uncertain=labels.uncertain)
    if problems := single_label_problems(recipe):
        raise DataError(" ".join(problems.values()))
    if labels.uncertain != "ignore":
        raise DataError(
            f"labels.uncertain belongs to several labels an image. Got {labels.uncertain!r} and one class an image. "
            "Leave it out."
        )
    if labels.positive is not None and len(names) > 2:
        raise DataError(
            f"labels.positive belongs to two classes. Got {labels.positive!r} with {len(names)} classes "
            f"({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}). Correct a misspelt class, or add --set "
            "labels.positive=null"
        )
    if labels.positive is not None and labels.positive not in names:
        raise DataError(
            f"labels.positive must be a class of the data ({', '.join(names)}). Got {labels.positive!r}. "
            f"Add --set \"labels.positive='{names[-1]}'\""
        )
    if len(names) == 2 and labels.positive is None:
        raise DataError(
            f"labels.positive must name the class of interest when there are two ({', '.join(names)}). Got none. "
            f"Add --set \"labels.positive='{names[-1]}'\" or the other one."
        )
    if labels.ordinal and len(names) < 3:
        raise DataError(
            f"labels.ordinal needs at least three classes. Got {', '.join(names)}. Add --set labels.ordinal=false"
        )
    _require_selectable(recipe.train.select_by, len(names), ordinal=labels.ordinal)
    return LabelSpace(
        names=names,
        positive=labels.positive,
        descriptions=descriptions,
        one_logit=labels.one_logit,
        ordinal=labels.ordinal,
    )


def _require_selectable(select_by: str, num_classes: int, *, ordinal: bool) -> None:
    """Stops where the metric to select by says nothing of these classes."""
    metric = registered_metrics().get(select_by)
    if metric is None or select_by in metrics_for(num_classes, ordinal=ordinal):
        return
    needed = "classes in order (labels.ordinal)" if metric.ordinal else f"at least {metric.from_classes} classes"
    raise DataError(
        f"train.select_by {select_by} needs {needed}. Got {num_classes} classes. Add --set train.select_by=auroc"
    )


def _require_readable(manifest: Manifest, recipe: Recipe) -> None:
    broken = manifest.frame.filter(pl.col("status") == "unreadable")
    if not broken.height:
        return
    names = ", ".join(broken["path"].head(5).to_list()) + (", ..." if broken.height > 5 else "")
    if recipe.data.unreadable == "error":
        raise DataError(
            f"Every image must be there and decode. Got {broken.height} that do not: {names}. "
            "Put them back, or add --set data.unreadable=exclude to keep them in the tables unscored."
        )
    log.warning("%d images cannot be decoded and are not used; the manifest says which and why", broken.height)


def inspect_manifest(manifest: Manifest) -> Inspection:
    """A manifest at hand, and the leaks between its splits."""
    return Inspection(manifest, find_leaks(manifest))


def write_leak_names(leaks: LeakReport, path: Path, *, force: bool = False) -> None:
    """Writes the names of all leaks as a YAML list, for `--set data.accept_leaks=@FILE`."""
    require_new(path, force=force)
    write_text(path, "".join(f"- {json.dumps(pair.name, ensure_ascii=False)}\n" for pair in leaks.leaks) or "[]\n")


def describe_data(inspection: Inspection) -> dict[str, Any]:
    """An inspection as plain values for printing and JSON."""
    manifest = inspection.manifest
    frame = manifest.frame
    return {
        "source": str(manifest.root),
        "reader": manifest.reader,
        "num_images": frame.height,
        "num_groups": frame["group_id"].n_unique(),
        "grouping": manifest.grouping,
        "fold": manifest.fold,
        "classes": list(manifest.classes),
        "imbalance": imbalance(manifest),
        "too_few_groups": {name: count for name, count in groups_of_classes(manifest).items() if count < 2},
        "unreadable": frame.filter(pl.col("status") == "unreadable")["path"].to_list(),
        "notes": list(manifest.notes),
        "sizes": split_sizes(manifest),
        "splits": split_summary(manifest),
        "label_conflicts": [str(conflict) for conflict in label_conflicts(frame)],
        "leaks": inspection.leaks.to_json(),
        "digest": manifest.digest,
    }
