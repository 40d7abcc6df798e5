"""`chiron fit-check`: does a trained network fit too closely, too loosely, or well? Told by comparable numbers.

The loss in a training history is of augmented, mixed, weighted images under dropout, so its distance to the loss of val
says little. Here the chosen network scores training images as it scores those of val: as they are, in fp32.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chiron.classifier import load
from chiron.core.errors import SpecError
from chiron.core.files import write_bytes, write_text
from chiron.core.hashing import seed_of
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.unchanged import require_unchanged
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import score_manifest
from chiron.metrics.cases import Cases, check_cases
from chiron.metrics.difference import difference_of
from chiron.metrics.estimate import Estimate
from chiron.metrics.estimator import Estimator
from chiron.metrics.metric import registered_metrics
from chiron.report.figures import png_of, svg_of
from chiron.report.plots import fit_check as plot
from chiron.report.plots.style import figure_style
from chiron.spec.reading import read_recipe
from chiron.workflows.evaluate import score_run
from chiron.workflows.overfit import refuse_overfit_check
from chiron.workflows.run_folder import RunFolder, open_run

GOOD, MODERATE = 0.05, 0.10  # gaps of the log loss in nats, up to which it is called so
_QUANTITIES = {"loss": "log_loss", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Verdict:
    """One word for the fit, and the sentence that says why."""

    word: str  # good, moderate, severe, underfitting, not told apart
    sentence: str


def fit_check(run_folder: str | Path, *, device: str = "auto", threads: int | None = None) -> dict[str, Any]:
    """Compares the chosen network on training images with itself on val; writes a figure and a text into the run.

    Of the train split so many images are scored as val has, in whole groups that the names choose. The gap is val
    minus train: overfitting is a positive one.

    Raises:
        SpecError: there is no such run, it has no bundle yet, or it is an overfit check.
        DataError: images are missing or are others than the run was trained on.
    """
    run = open_run(Path(run_folder))
    recipe, manifest = read_recipe(str(run.recipe)), Manifest.load(run.path)
    refuse_overfit_check(run.path, recipe, to="check for its fit")
    if recipe.train.sanity_steps is not None:
        raise SpecError(
            f"A run to check for its fit must be a training. Got {run.path}, and a sanity run has not learned. "
            "Train without train.sanity_steps."
        )
    if not (run.bundle / "bundle.json").is_file():
        raise SpecError(
            f"A run to check for its fit must have a bundle. Got none in {run.path}. "
            f"Finish it with `chiron train --resume --out {run.path}`."
        )
    val = manifest.select("val")
    train = sample_of_train(manifest, num_images=val.frame.height)
    require_unchanged(train)
    if not run.predictions("val").is_file():
        score_run(run, "val", device=device, threads=threads)
    runtime = start_runtime(device=device, threads=threads)
    scored = score_manifest(
        load(run.bundle, device=str(runtime.device)), train, runtime, batch_size=recipe.train.batch_size
    )
    cases = {"train": cases_of(scored), "val": cases_of(Predictions.load(run.predictions("val")))}
    return _write(run, _numbers(run, cases, recipe.evaluate.num_resamples, recipe.evaluate.confidence))


def sample_of_train(manifest: Manifest, *, num_images: int) -> Manifest:
    """Whole groups of the train split, at least `num_images` images where there are so many; the same every time."""
    part = manifest.select("train")
    sizes = dict(part.frame.group_by("group_id").len().iter_rows())
    chosen, count = [], 0
    for group in sorted(sizes, key=lambda group: seed_of("fit-check", group)):
        if count >= num_images:
            break
        chosen.append(group)
        count += sizes[group]
    kept = part.frame.filter(pl.col("group_id").is_in(chosen))
    return part.with_splits(dict.fromkeys(kept["sample_id"].to_list(), "train")).select("train")


def cases_of(predictions: Predictions) -> Cases:
    """Images and their classes; of several labels an image, assessed labels that are present or absent."""
    y_true, y_prob, groups = predictions.y_true, predictions.y_prob, predictions.groups
    if not predictions.is_multi_label:
        return check_cases(y_true, y_prob, classes=predictions.classes, positive=predictions.positive, groups=groups)
    rows, columns = np.nonzero(~np.isnan(y_true))
    present = y_prob[rows, columns]
    return check_cases(
        1 - y_true[rows, columns].astype(np.int64),
        np.column_stack([present, 1 - present]),
        classes=("present", "absent"),
        positive="present",
        groups=rows.tolist() if groups is None else [groups[row] for row in rows],
    )


def _numbers(run: RunFolder, cases: Mapping[str, Cases], num_resamples: int, confidence: float) -> dict[str, Any]:
    metrics = {key: registered_metrics()[key] for key in _QUANTITIES.values()}
    how: dict[str, Any] = {"num_resamples": num_resamples, "confidence": confidence}
    estimators = {split: Estimator(part, metrics, seed=0, **how) for split, part in cases.items()}
    estimates: dict[str, dict[str, Estimate]] = {}
    for name, key in _QUANTITIES.items():
        estimates[name] = {split: estimator.overall(metrics[key]) for split, estimator in estimators.items()}
        estimates[name]["gap"] = difference_of(metrics[key], cases["train"], cases["val"], **how)
    prior = loss_of_class_shares(cases["train"])
    verdict = judge(estimates["loss"]["train"], estimates["loss"]["gap"], prior)
    return {
        "run": str(run.path),
        "epoch": run.read_facts().get("best_epoch"),
        **{name: {part: asdict(it) for part, it in parts.items()} for name, parts in estimates.items()},
        "loss_of_class_shares": prior,
        "thresholds": {"good_below": GOOD, "moderate_below": MODERATE},
        "confidence_level": confidence,
        "verdict": verdict.word,
        "sentence": verdict.sentence,
    }


def loss_of_class_shares(cases: Cases) -> float:
    """The log loss of always answering the shares of the classes (their entropy, nats)."""
    shares = np.bincount(cases.y_true, minlength=cases.num_classes) / cases.num_images
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def judge(train: Estimate, gap: Estimate, prior: float) -> Verdict:
    """What the interval of the gap allows to say; underfitting first, which makes a small gap worthless.

    Args:
        train: log loss on training images.
        gap: log loss of val minus that of train.
        prior: the loss of answering the shares of the classes.
    """
    if train.low is None or train.high is None or gap.low is None or gap.high is None:
        return Verdict("not told apart", f"There are too few images for an interval: {train.note or gap.note}.")
    if (doubt := train.note or gap.note) is not None:
        return Verdict("not told apart", f"The intervals cannot be relied on: {doubt.rstrip('.')}.")
    if train.low >= prior:
        return Verdict(
            "underfitting",
            f"On its own training images the network is no better (log loss {train.value:.3f}) than answering the "
            f"shares of the classes ({prior:.3f}): train longer, with another learning rate, or a larger network.",
        )
    if train.high >= prior:
        return Verdict(
            "not told apart",
            "Whether the network has learned its own training images better than the shares of the classes is not told "
            f"apart: log loss {train.low:.3f} to {train.high:.3f}, shares {prior:.3f}.",
        )
    lowest, highest = _band(gap.low), _band(gap.high)
    interval = f"{gap.value:.3f} nats ({gap.low:.3f} to {gap.high:.3f})"
    if lowest != highest:
        return Verdict(
            "not told apart",
            f"The gap of the log loss, {interval}, may be {lowest} or {highest}: val has too few images.",
        )
    means = {
        "good": "the network does about as well on images that it did not learn from",
        "moderate": "the network fits its training images somewhat more closely than others",
        "severe": "the network overfits: more augmentation, weight decay or data, or fewer epochs may help",
    }
    return Verdict(lowest, f"The gap of the log loss is {interval}: {means[lowest]}.")


def _band(gap: float) -> str:
    return "good" if gap < GOOD else "moderate" if gap < MODERATE else "severe"


def _write(run: RunFolder, numbers: dict[str, Any]) -> dict[str, Any]:
    with figure_style():
        drawing = plot.draw(run.read_history(), numbers)
    files = {kind: run.path / f"fit_check.{kind}" for kind in ("png", "svg", "txt")}
    write_bytes(files["png"], png_of(drawing))
    write_text(files["svg"], svg_of(drawing))
    write_text(files["txt"], fit_text(numbers))
    return numbers | {"files": {kind: str(path) for kind, path in files.items()}}


def fit_text(numbers: Mapping[str, Any]) -> str:
    """The numbers and the verdict as plain text."""
    loss, accuracy = numbers["loss"], numbers["accuracy"]
    lines = [
        f"Fit of {Path(numbers['run']).name}, epoch {numbers['epoch']}: {numbers['verdict']}",
        numbers["sentence"],
        "",
        f"{'':<10}{'log loss':<28}accuracy",
        *(f"{part:<10}{_shown(loss[part]):<28}{_shown(accuracy[part])}" for part in ("train", "val", "gap")),
        "",
        f"Gap: val minus train; below {GOOD:g} good, below {MODERATE:g} moderate, else severe (log loss, nats).",
        f"Answering the shares of the classes has a log loss of {numbers['loss_of_class_shares']:.3f}.",
        f"Scored by the chosen network on images as they are, fp32: {loss['train']['num_images']} of train in "
        f"{loss['train']['num_groups']} groups, {loss['val']['num_images']} of val in {loss['val']['num_groups']}.",
        f"Intervals: {100 * numbers['confidence_level']:g} %, {loss['gap']['method']} for the gap.",
        "The epoch was chosen on val, so that the gap is a little too small.",
    ]
    notes = {part[key]["note"] for part in (loss, accuracy) for key in part if part[key]["note"]}
    return "\n".join([*lines, *(f"Note: {note}." for note in sorted(notes))]) + "\n"


def _shown(estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} (no interval)"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
