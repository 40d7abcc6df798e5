"""`chiron plan`: how many groups a test set needs for what is wanted, and what the test set that there is can show."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from chiron.core.errors import DataError, SpecError
from chiron.core.job import require_alone
from chiron.data.manifest import Manifest, is_manifest
from chiron.data.predictions import Predictions
from chiron.metrics.sample_size import (
    auroc_half_width,
    cases_for_auroc,
    cases_for_aurocs,
    cases_for_share,
    design_effect,
    detectable_auroc,
    detectable_share,
    in_groups,
    pairs_for_shares,
    pairs_not_inferior,
    share_half_width,
)
from chiron.workflows.run_folder import is_run

MetricKind = Literal["accuracy", "sensitivity", "specificity", "auroc"]
KINDS: tuple[MetricKind, ...] = ("accuracy", "sensitivity", "specificity", "auroc")


@dataclass(frozen=True)
class Wish:
    """What is expected of a test set, and what it is to show.

    `correlation` is of the images of a group: at 1, the default, groups alone count. `between_models` is of the two
    models' AUROCs as estimates, `discordant` the share of cases that one model has right and the other wrong.
    """

    metric: MetricKind = "auroc"
    expected: float = 0.9
    half_width: float | None = None
    difference: float | None = None
    margin: float | None = None
    prevalence: float = 0.5
    images_per_group: float = 1.0
    correlation: float = 1.0
    between_models: float = 0.5
    discordant: float | None = None
    power: float = 0.8
    alpha: float = 0.05


@dataclass(frozen=True)
class Needed:
    """One answer: independent cases of the kind that counts, and groups in all, of both kinds."""

    what: str
    cases: int
    counted: str  # which cases these are
    groups: int
    images: int


def needed_for(wish: Wish) -> list[dict[str, Any]]:
    """What the wishes take, a row each.

    Raises:
        SpecError: nothing is asked for, or an option is missing or does not fit.
        MetricError: a number lies outside its range.
    """
    require_alone("plan")
    if wish.half_width is None and wish.difference is None and wish.margin is None:
        raise SpecError("A plan needs a wish. Got none. Give --half-width, --difference or --margin, or a test set.")
    _require_design(wish)
    rows = []
    if wish.half_width is not None:
        told = f"{wish.metric} {wish.expected:g} to within {wish.half_width:g} ({100 * (1 - wish.alpha):g} % interval)"
        rows.append(_needed(told, _for_half_width(wish, wish.half_width), wish))
    if wish.margin is not None:
        told = f"{wish.metric} not worse by {wish.margin:g}, power {wish.power:g}, one-sided {wish.alpha / 2:g}"
        rows.append(_needed(told, _for_margin(wish, wish.margin), wish))
    elif wish.difference is not None:
        told = f"a difference of {wish.difference:g} in {wish.metric}, power {wish.power:g}, two-sided {wish.alpha:g}"
        rows.append(_needed(told, _for_difference(wish, wish.difference), wish))
    return [asdict(row) for row in rows]


def _for_half_width(wish: Wish, half_width: float) -> int:
    confidence = 1 - wish.alpha
    if wish.metric == "auroc":
        return cases_for_auroc(wish.expected, half_width, wish.prevalence, confidence=confidence)
    return cases_for_share(wish.expected, half_width, confidence=confidence)


def _for_difference(wish: Wish, difference: float) -> int:
    how: dict[str, float] = {"power": wish.power, "alpha": wish.alpha}
    if wish.metric == "auroc":
        second = wish.expected + difference
        return cases_for_aurocs(wish.expected, second, wish.prevalence, correlation=wish.between_models, **how)
    return pairs_for_shares(difference, _discordant(wish), **how)


def _for_margin(wish: Wish, margin: float) -> int:
    how: dict[str, float] = {"power": wish.power, "alpha": wish.alpha}
    difference = wish.difference or 0.0
    if wish.metric == "auroc":
        how |= {"correlation": wish.between_models, "margin": margin}
        return cases_for_aurocs(wish.expected, wish.expected + difference, wish.prevalence, **how)
    return pairs_not_inferior(margin, _discordant(wish), difference=difference, **how)


def _discordant(wish: Wish) -> float:
    if wish.discordant is None:
        raise SpecError(
            "Two models that are compared by a share need the share of cases on which they disagree. Got none. Give "
            "--discordant, for example 0.1."
        )
    return wish.discordant


def _needed(what: str, cases: int, wish: Wish) -> Needed:
    """Groups in all: of a class where only its cases count, by the share of groups that have it."""
    of_all = {"sensitivity": wish.prevalence, "specificity": 1 - wish.prevalence}.get(wish.metric, 1.0)
    counted = {"sensitivity": "positive", "specificity": "negative"}.get(wish.metric, "all")
    groups = in_groups(cases / of_all, wish.images_per_group, wish.correlation)
    return Needed(what, cases, counted, groups, round(groups * wish.images_per_group))


def shown_by(target: str | Path, wish: Wish, *, split: str | None = None) -> dict[str, Any]:
    """What the test split of a run, manifest or table of predictions can show, a row a question.

    Groups are counted, and the mean number of images in one; the wish says the rest.

    Raises:
        SpecError: the target is none of these.
        DataError: there is no labeled image.
    """
    require_alone("plan")
    _require_design(wish)
    frame, classes, chosen = _labeled(Path(target), split)
    groups, images = frame["group_id"].n_unique(), frame.height
    effect = design_effect(images / groups, wish.correlation)
    confidence = 1 - wish.alpha
    how: dict[str, float] = {"power": wish.power, "alpha": wish.alpha}
    discordant = 0.1 if wish.discordant is None else wish.discordant
    accuracy = {
        "half_width": share_half_width(wish.expected, images / effect, confidence=confidence),
        "detectable": detectable_share(images / effect, discordant, **how),
    }
    rows = []
    for name in classes:
        inside = frame.filter(pl.col("y_true") == name)
        positive, negative = inside.height / effect, (images - inside.height) / effect
        row: dict[str, Any] = {
            "class": name,
            "images": inside.height,
            "groups": inside["group_id"].n_unique(),
            "sensitivity_half_width": None,
            "auroc_half_width": None,
            "auroc_detectable": None,
        }
        if min(positive, negative) >= 1:
            row["sensitivity_half_width"] = share_half_width(wish.expected, positive, confidence=confidence)
            row["auroc_half_width"] = auroc_half_width(wish.expected, positive, negative, confidence=confidence)
            row["auroc_detectable"] = detectable_auroc(
                wish.expected, positive, negative, correlation=wish.between_models, **how
            )
        rows.append(row)
    return {
        "target": str(target),
        "split": chosen,
        "images": images,
        "groups": groups,
        "design_effect": effect,
        "discordant": discordant,
        "wish": asdict(wish),
        "accuracy": accuracy,
        "classes": rows,
    }


def _labeled(path: Path, split: str | None) -> tuple[pl.DataFrame, Sequence[str], str]:
    """Labeled rows with y_true and group_id, the classes, and what part of the data they are."""
    if is_run(path) or is_manifest(path):
        manifest = Manifest.load(path)
        if manifest.is_multi_label:
            raise SpecError("A plan is of one class an image. Got several classes an image. Give a table of one class.")
        present = set(manifest.frame["split"].drop_nulls())
        chosen = split or next((name for name in ("test", "external") if name in present), "all")
        part = manifest if chosen == "all" else manifest.select(chosen)
        frame = part.frame.filter((pl.col("status") == "ok") & pl.col("label").is_not_null())
        return _counted(frame.select(pl.col("label").alias("y_true"), "group_id"), path), manifest.classes, chosen
    if path.suffix.lower() != ".csv" or not path.is_file():
        raise SpecError(
            f"chiron plan takes a run folder, a manifest or a predictions CSV. Got {path}. Give one of them."
        )
    predictions = Predictions.load(path)
    if predictions.is_multi_label:
        raise SpecError("A plan is of one class an image. Got several classes an image. Give a table of one class.")
    scored = predictions.scored
    groups = predictions.groups or scored["sample_id"].cast(pl.String).to_list()
    frame = pl.DataFrame({"y_true": scored["y_true"], "group_id": groups})
    if split is not None and "split" not in scored.columns:
        raise SpecError(f"--split needs a table that says which is which. Got {path} without it. Leave it out.")
    if split is not None:
        frame = frame.filter(scored["split"] == split)
    return _counted(frame, path), predictions.classes, split or "all rows"


def _counted(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    if not frame.height:
        raise DataError(f"A plan counts labeled images. Got none in {path}. Choose another --split.")
    return frame


def _require_design(wish: Wish) -> None:
    bounds = {
        "--expect": (wish.expected, 0, 1),
        "--prevalence": (wish.prevalence, 0, 1),
        "--power": (wish.power, 0, 1),
        "--alpha": (wish.alpha, 0, 0.5),
    }
    for name, (value, low, high) in bounds.items():
        if not low < value < high:
            raise SpecError(f"{name} must lie between {low} and {high}. Got {value}. Change it.")
    if wish.images_per_group < 1:
        raise SpecError(f"--images-per-group must be at least 1. Got {wish.images_per_group}. Change it.")
    for name, value in (("--correlation", wish.correlation), ("--between-models", wish.between_models)):
        if not 0 <= value <= 1:
            raise SpecError(f"{name} must lie between 0 and 1. Got {value}. Change it.")
