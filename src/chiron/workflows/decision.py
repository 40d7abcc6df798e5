"""What a recipe asks of the decision, checked against the data; and the decision itself, fitted from stored tables."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.core.errors import DataError, SpecError
from chiron.core.suggest import did_you_mean
from chiron.data.folds import cross_fit_folds
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions, member_scores
from chiron.data.units import UNIT_COLUMNS, at_unit
from chiron.decide.calibrate import fit_calibration
from chiron.decide.conformal import fit_conformal
from chiron.decide.members import question_score
from chiron.decide.thresholds import fit_threshold
from chiron.metrics.one_number import one_number, one_number_of_labels
from chiron.spec.decision import (
    Calibration,
    CalibrationMethod,
    CombineRule,
    Conformal,
    Decision,
    DecisionRecipe,
    FittedOn,
    Threshold,
    questions_of,
)
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")
ENOUGH_GROUPS_OF_A_FOLD, ENOUGH_WITH_INTERCEPT = 20, 50  # the fewest cases that calibrators are fitted on
ENOUGH_GROUPS, ENOUGH_GROUPS_OF_A_CLASS = 100, 20  # of a cal split; below, folds give more


def where_to_fit(recipe: Recipe, manifest: Manifest) -> FittedOn:
    """Where calibration, thresholds and prediction sets are fitted: the recipe's word, or by the size of cal.

    With `auto` nothing is fitted where not even folds have enough groups for what suits; `require_decision` tells.
    """
    asked = recipe.decision
    if asked.fit_on != "auto":
        return asked.fit_on
    part = manifest.select("cal").frame
    if not part.height:
        return "none"
    if has_enough(part, manifest):
        return "cal"
    dealt = pl.col("split").is_in(["train", "cal"]) & (pl.col("status") == "ok")
    num_groups = manifest.frame.filter(dealt)["group_id"].n_unique()
    needed = ENOUGH_WITH_INTERCEPT if _needs_intercept(recipe) else ENOUGH_GROUPS_OF_A_FOLD
    return "cross_fit" if num_groups >= asked.folds * needed else "none"


def _needs_intercept(recipe: Recipe) -> bool:
    """Whether training shifted the mean probabilities, which only an intercept a class repairs."""
    return recipe.train.class_weights != "none" or recipe.train.sampler == "balanced"


def has_enough(part: pl.DataFrame, manifest: Manifest) -> bool:
    """Whether this part of the data has the groups, of each class too, that a fit should have."""
    usable = part.filter(pl.col("status") == "ok")
    if usable["group_id"].n_unique() < ENOUGH_GROUPS:
        return False
    if manifest.is_multi_label:
        shown = [usable.filter(pl.col(name) == 1) for name in manifest.label_columns]
    else:
        shown = [usable.filter(pl.col("label") == name) for name in manifest.classes]
    return all(own["group_id"].n_unique() >= ENOUGH_GROUPS_OF_A_CLASS for own in shown)


def splits_needed(asked: DecisionRecipe, fitted_on: FittedOn) -> list[str]:
    """The splits whose stored tables the decision is fitted from."""
    selects = ["val"] if asked.combine == "auto" or fitted_on == "reuse_val" else []
    return selects + (["cal"] if fitted_on == "cal" else [])


def require_decision(recipe: Recipe, manifest: Manifest, labels: LabelSpace) -> None:
    """Stops at a decision that these data cannot have, before any training.

    Raises:
        SpecError: a question or rule does not fit the classes, a column is missing, or there is nothing to fit on.
    """
    asked, fitted_on = recipe.decision, where_to_fit(recipe, manifest)
    _require_questions(asked, labels)
    _require_columns(asked, manifest)
    wanted = [f"decision.{key} {getattr(asked, key)}" for key in ("threshold", "conformal") if _is_wanted(asked, key)]
    if asked.refer_share is not None:
        wanted.append(f"decision.refer_share {asked.refer_share:g}")
    if asked.calibration not in ("none", "auto"):
        wanted.append(f"decision.calibration {asked.calibration}")
    if fitted_on == "none" and wanted:
        raise SpecError(
            f"{wanted[0]} must be fitted on images that training does not see. Got no cal split, or too "
            "few groups. Give it a share, for "
            'example --set "data.fractions={train: 0.6, val: 0.1, cal: 0.15, test: 0.15}", or set decision.fit_on.'
        )
    if fitted_on == "none" and asked.fit_on == "auto" and manifest.select("cal").frame.height:
        log.warning("decision: too few groups for a cal split or for folds, so that nothing is calibrated")
    if fitted_on == "cal" and not manifest.select("cal").frame.height:
        raise SpecError("decision.fit_on cal needs images in the split cal. Got none. Give data.fractions a share cal.")
    if fitted_on == "cross_fit":
        if asked.conformal != "none" and asked.conformal_by != "all":
            raise SpecError(
                f"Cross-fitted prediction sets hold for all units together. Got decision.conformal_by "
                f"{asked.conformal_by}. Set it to all, or fit on a cal split."
            )
        cross_fit_folds(manifest, folds=asked.folds, seed=recipe.data.split_seed)  # what cannot be dealt is told now
        log.warning("decision: cross-fitted, so that %d networks are trained, one after the other", asked.folds)


def _is_wanted(asked: DecisionRecipe, key: str) -> bool:
    return getattr(asked, key) != "none"


def _require_questions(asked: DecisionRecipe, labels: LabelSpace) -> None:
    several, names = labels.is_multi_label, labels.names
    if several and asked.questions:
        raise SpecError(
            "decision.questions belong to classes that exclude each other. Got questions and several labels an image. "
            "Leave them out: every class is a question by itself."
        )
    for question, classes in asked.questions.items():
        if strangers := [name for name in classes if name not in names]:
            raise SpecError(
                f"decision.questions must name classes of the data ({', '.join(names)}). Got {strangers[0]!r} in "
                f"{question!r}. {did_you_mean(strangers[0], names)}".rstrip()
            )
        if set(classes) == set(names):
            raise SpecError(f"A question must leave a class out. Got all of them in {question!r}. Name fewer.")
    if _is_wanted(asked, "threshold") and not questions_of(asked.questions, names, labels.positive, several=several):
        raise SpecError(
            f"decision.threshold {asked.threshold} needs a question. Got none for {len(names)} classes. Name its "
            f"classes, for example --set \"decision.questions={{ill: ['{names[0]}']}}\"."
        )
    if several and _is_wanted(asked, "conformal"):
        raise SpecError(
            "decision.conformal belongs to classes that exclude each other. Got several labels an image. Leave it out."
        )
    if several and asked.refer_share is not None:
        raise SpecError(
            "decision.refer_share belongs to classes that exclude each other, where one is named. Got several labels "
            "an image. Leave it out."
        )
    has_positive = several or (len(names) == 2 and labels.positive is not None)
    for key, value in (("combine", "max_prob"), ("unit_label", "any_positive")):
        if getattr(asked, key) == value and not has_positive:
            raise SpecError(
                f"decision.{key} {value} needs a positive class of two, or several labels an image. "
                f"Got {len(names)} classes. Take another rule."
            )


def _require_columns(asked: DecisionRecipe, manifest: Manifest) -> None:
    frame = manifest.frame
    column = UNIT_COLUMNS.get(asked.unit)
    if column is not None and frame[column].null_count() == frame.height:
        raise SpecError(
            f"decision.unit {asked.unit} needs images with {column}. Got none in the manifest. Give a table with that "
            "column, or set decision.unit=image."
        )
    if asked.conformal_by not in ("all", "class", *frame.columns):
        raise SpecError(
            f"decision.conformal_by must be all, class or a column of the data. Got {asked.conformal_by!r}. "
            f"{did_you_mean(asked.conformal_by, frame.columns)}".rstrip()
        )


def unfitted_decision(asked: DecisionRecipe) -> Decision:
    """The decision of a bundle before anything is fitted."""
    combine: CombineRule = "mean_logit" if asked.combine == "auto" else asked.combine
    return Decision(unit=asked.unit, combine=combine, unit_label=asked.unit_label, questions=asked.questions)


def fit_decision(recipe: Recipe, tables: Mapping[str, Predictions], fitted_on: FittedOn) -> Decision:
    """The decision of a bundle: how images are combined, calibration, thresholds and conformal sets.

    Args:
        tables: split -> images scored by the network, for those that `splits_needed` names.
        fitted_on: `cal`, `reuse_val` or `none`.
    Raises:
        DecisionError: too few cases for what the recipe asks.
        DataError: images of one unit have different labels, or no row can be scored.
    """
    asked = recipe.decision
    decision = unfitted_decision(asked)
    if asked.combine == "auto":
        decision = decision.model_copy(update={"combine": best_combine(decision, tables["val"])})
    if fitted_on == "none":
        return decision
    units = at_unit(tables["cal" if fitted_on == "cal" else "val"], decision).predictions
    if not units.scored.height:
        raise DataError("A decision is fitted on images with a reference label. Got none. Look at the split.")
    calibration = calibration_of(recipe, units, asked.calibration, fitted_on)
    return with_thresholds_and_sets(decision.model_copy(update={"calibration": calibration}), asked, units, fitted_on)


def calibration_of(
    recipe: Recipe, units: Predictions, method: CalibrationMethod | Literal["auto"], fitted_on: FittedOn
) -> Calibration:
    """The calibration of one network; after class weights or a balanced sampler one with an intercept a class."""
    return fit_calibration(
        member_scores(units.scored, units.classes)[0],
        units.y_true,
        units.groups,
        method=method,
        needs_intercept=_needs_intercept(recipe),
        fitted_on=fitted_on,
        several=units.is_multi_label,
        seed=recipe.train.seed,
    )


def with_thresholds_and_sets(
    decision: Decision, asked: DecisionRecipe, units: Predictions, fitted_on: FittedOn
) -> Decision:
    """The calibrated decision with what is fitted on calibrated probabilities of units."""
    units = _decided(units, decision)
    fitted: dict[str, Any] = {"conformal": _conformal(asked, units, fitted_on)}
    fitted["refer_below"] = refer_below(asked, units.y_prob)
    if asked.threshold != "none":
        fitted["thresholds"] = thresholds_of(asked, units, units.y_prob, fitted_on)
    return decision.model_copy(update=fitted)


def refer_below(asked: DecisionRecipe, probs: Float[np.ndarray, "n classes"]) -> float | None:
    """The probability of the class named below which a person must decide; None where the recipe asks for no limit.

    It is that of a referral table: at most the share asked for goes to a person, equal probabilities together.
    """
    if asked.refer_share is None:
        return None
    rising = np.sort(probs.max(axis=1))
    return float(rising[min(int(np.floor(asked.refer_share * len(rising) + 1e-9)), len(rising) - 1)])


def _decided(predictions: Predictions, decision: Decision) -> Predictions:
    return predictions.with_facts(decision=decision.model_dump(mode="json"))


def thresholds_of(
    asked: DecisionRecipe, units: Predictions, probs: Float[np.ndarray, "n classes"], fitted_on: FittedOn
) -> tuple[Threshold, ...]:
    """The threshold of every question, from the calibrated probabilities of units.

    Raises:
        DecisionError: a question has too few positives for the rule.
    """
    assert asked.threshold != "none"
    several, y_true, groups = units.is_multi_label, units.y_true, units.groups
    questions = questions_of(asked.questions, units.classes, units.positive, several=several)
    fitted = []
    for question, classes in questions.items():
        places = [units.classes.index(name) for name in classes]
        known = ~np.isnan(y_true[:, places[0]]) if several else np.ones(len(y_true), dtype=bool)
        positive = y_true[:, places[0]] == 1 if several else np.isin(y_true, places)
        fitted.append(
            fit_threshold(
                question_score(probs, classes, units.classes)[known],
                positive[known],
                None if groups is None else [it for it, counts in zip(groups, known, strict=True) if counts],
                question=question,
                classes=classes,
                rule=asked.threshold,
                sensitivity=asked.sensitivity,
                fitted_on=fitted_on,
            )
        )
    return tuple(fitted)


def _conformal(asked: DecisionRecipe, units: Predictions, fitted_on: FittedOn) -> Conformal | None:
    if asked.conformal == "none":
        return None
    return fit_conformal(
        units.y_prob,
        units.y_true,
        units.groups,
        classes=units.classes,
        score=asked.conformal,
        alpha=asked.alpha,
        by=asked.conformal_by,
        by_values=values_of(units, asked.conformal_by),
        fitted_on=fitted_on,
    )


def values_of(predictions: Predictions, by: str) -> list[str] | None:
    """The subgroup of every scored row, a blank one as text; None where no column is meant or the table has none."""
    if by in ("all", "class") or by not in predictions.frame.columns:
        return None
    return predictions.scored[by].cast(pl.String).fill_null("").to_list()


def best_combine(decision: Decision, val: Predictions) -> CombineRule:
    """The rule with the least log loss on units of val, the first of equal ones: test plays no part in it."""
    rules: list[CombineRule] = ["mean_logit", "mean_prob"]
    if val.is_multi_label or val.positive is not None:
        rules.append("max_prob")
    losses = {
        rule: _log_loss(at_unit(val, decision.model_copy(update={"combine": rule})).predictions) for rule in rules
    }
    best = min(rules, key=lambda rule: losses[rule])
    log.info("combine: %s (log loss on val %s)", best, ", ".join(f"{it} {losses[it]:.4f}" for it in rules))
    return best


def _log_loss(units: Predictions) -> float:
    if units.is_multi_label:
        return one_number_of_labels("log_loss", units.y_true, units.y_prob)
    positive = None if units.positive is None else units.classes.index(units.positive)
    return one_number("log_loss", units.y_true, units.y_prob, positive_index=positive)
