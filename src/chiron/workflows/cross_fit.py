"""Cross-fitting: where a cal split would be too small, as many networks as folds, each calibrated on its held-out fold.

The bundle holds all of them; its probability is the mean of their calibrated ones. Each fold trains under
`folds/<k>` of the run and resumes by itself. No raw scores of different networks are ever pooled: what thresholds are
fitted on are calibrated probabilities of held-out units.
"""

import json
import logging
from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from chiron.classifier import Classifier
from chiron.core.errors import DataError
from chiron.core.files import write_text
from chiron.data.cache import CachedImages
from chiron.data.folds import cross_fit_folds
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.units import at_unit
from chiron.decide.conformal import fit_cross_conformal
from chiron.engine.fit import Fitted, fit
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import score_manifest
from chiron.spec.decision import Calibration, Decision
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe
from chiron.workflows.calibrate import told_decision
from chiron.workflows.decision import best_combine, calibration_of, refer_below, thresholds_of, unfitted_decision
from chiron.workflows.make_bundle import make_bundle
from chiron.workflows.run_folder import RunFolder

log = logging.getLogger("chiron.train")


def cross_fit(
    run: RunFolder,
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    runtime: Runtime,
    cached: CachedImages | None,
) -> None:
    """Trains the network of every fold, fits the decision on what each has not seen, and makes the bundle of all.

    Raises:
        ChironError: with one clear sentence; folds that are done are not trained again when the run is resumed.
    """
    count, world = recipe.decision.folds, runtime.world
    fitted = []
    for fold, part in enumerate(cross_fit_folds(manifest, folds=count, seed=recipe.data.split_seed)):
        log.info("fold %d of %d", fold + 1, count)
        own = run.fold(fold)
        fitted.append(_fit_fold(own, recipe, part, labels, runtime, cached))
        classifier = Classifier(
            [fitted[-1].network], network_spec=fitted[-1].network_spec, input_spec=recipe.input, labels=labels
        ).to(runtime.device)
        for split in ("cal", "val"):
            table = score_manifest(
                classifier, part.select(split), runtime, batch_size=recipe.train.batch_size, seed=recipe.train.seed
            )
            if world.is_main:
                table.save(own.predictions(split))
        classifier.to("cpu")

    def finish() -> None:
        tables = {
            split: [Predictions.load(run.fold(fold).predictions(split)) for fold in range(count)]
            for split in ("cal", "val")
        }
        decision = cross_fit_decision(recipe, tables["cal"], tables["val"])
        make_bundle(run, recipe, manifest, labels, fitted, runtime.alone(), decision)
        for line in told_decision(decision):
            log.info("%s", line)

    world.by_main(finish)


def _fit_fold(
    own: RunFolder,
    recipe: Recipe,
    part: Manifest,
    labels: LabelSpace,
    runtime: Runtime,
    cached: CachedImages | None,
) -> Fitted:
    def keep_history(history: list[dict[str, Any]]) -> None:
        if runtime.world.is_main:
            write_text(own.history, json.dumps(history, indent=1))

    how: dict[str, Any] = {"checkpoints": own.checkpoints, "runtime": runtime, "cached": cached, "logs": own.logs}
    return fit(recipe, part, labels, on_epoch=keep_history, **how)


def cross_fit_decision(recipe: Recipe, held_out: list[Predictions], val: list[Predictions]) -> Decision:
    """One calibration a network, thresholds on calibrated probabilities of held-out units, and sets by CV+.

    Args:
        held_out: images of each network's held-out fold, scored by it.
        val: the same images scored by each; they choose how images of a unit are combined, where the recipe leaves it.
    Raises:
        DecisionError: too few cases for what the recipe asks.
        DataError: a fold without a labeled unit.
    """
    asked, decision = recipe.decision, unfitted_decision(recipe.decision)
    if asked.combine == "auto":
        chosen = Counter(best_combine(decision, table) for table in val)
        decision = decision.model_copy(update={"combine": chosen.most_common(1)[0][0]})
    units = [at_unit(table, decision).predictions for table in held_out]
    if not all(part.scored.height for part in units):
        raise DataError("Every fold must hold units with a reference label. Got one without. Ask for fewer folds.")
    calibration = _calibrations(recipe, units)
    probs = [
        part.with_facts(decision=Decision(calibration=one).model_dump(mode="json")).y_prob
        for part, one in zip(units, _each(calibration, len(units)), strict=True)
    ]
    together = _together(units)
    fitted: dict[str, Any] = {"calibration": calibration}
    fitted["refer_below"] = refer_below(asked, np.concatenate(probs))
    if asked.threshold != "none":
        fitted["thresholds"] = thresholds_of(asked, together, np.concatenate(probs), "cross_fit")
    if asked.conformal != "none":
        groups = [part.groups or part.scored["sample_id"].to_list() for part in units]
        fitted["conformal"] = fit_cross_conformal(
            probs, [part.y_true for part in units], groups, score=asked.conformal, alpha=asked.alpha
        )
    return decision.model_copy(update=fitted)


def _calibrations(recipe: Recipe, units: list[Predictions]) -> Calibration:
    """Parameters of every network, all by one method: the one that most folds choose."""
    method = recipe.decision.calibration
    if method == "auto":
        chosen = Counter(calibration_of(recipe, part, "auto", "cross_fit").method for part in units)
        method = chosen.most_common(1)[0][0]
    made = [calibration_of(recipe, part, method, "cross_fit") for part in units]
    return made[0].model_copy(
        update={
            # Of `none` a set without entries each, so that the networks' own probabilities are averaged too.
            "parameters": tuple(one.parameters[0] if one.parameters else {} for one in made),
            "fitted_on": "cross_fit",
            "num_units": sum(one.num_units for one in made),
            "num_groups": sum(one.num_groups for one in made),
        }
    )


def _each(calibration: Calibration, count: int) -> list[Calibration]:
    """The calibration of each network by itself."""
    if calibration.method == "none":
        return [calibration] * count
    return [calibration.model_copy(update={"parameters": (one,)}) for one in calibration.parameters]


def _together(units: list[Predictions]) -> Predictions:
    """All held-out units, each once, in the order of the folds; of their scores only calibrated ones may be used."""
    first = units[0]
    groups = [part.group_of_rows for part in units]
    row_groups = None if any(it is None for it in groups) else tuple(it for own in groups for it in own or ())
    frame = pl.concat([part.frame for part in units], how="diagonal_relaxed")
    return Predictions(frame, first.classes, first.positive, first.facts, row_groups)
