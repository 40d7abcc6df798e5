"""Recalibration: the decision of a bundle fitted again on a part of other data, which is then never scored.

Weights, unit and the rule that combines images stay. The calibration is chosen anew among those with an intercept a
class, as classes are commoner or rarer at another place; thresholds and prediction sets follow the rules that the
bundle's own have. What comes out is another bundle, with an id of its own.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chiron.audit.leaks import find_leaks
from chiron.bundle import read_known_images
from chiron.classifier import Classifier
from chiron.core.errors import DataError, DecisionError, LeakError, SpecError
from chiron.data.known_images import KnownImages, known_images
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions, member_scores
from chiron.data.units import UNIT_COLUMNS, at_unit, require_answers
from chiron.decide.calibrate import fit_calibration
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import reference_table, score_manifest
from chiron.spec.decision import Decision, DecisionRecipe
from chiron.spec.provenance import Recalibration
from chiron.workflows.decision import (
    ENOUGH_GROUPS,
    ENOUGH_GROUPS_OF_A_CLASS,
    has_enough,
    with_thresholds_and_sets,
)
from chiron.workflows.look import part_of

log = logging.getLogger("chiron.external")
_MOST_NAMED = 10
_SPLIT_ANEW = "`chiron data split DATA --out FOLDER --ignore-existing --train 0 --val 0 --cal 0.4 --test 0.6`"


@dataclass(frozen=True)
class Parts:
    """Which split of other data is scored, and which one the decision is fitted on again; None: on none."""

    scored: str
    fitted: str | None

    def to_score(self, manifest: Manifest) -> Manifest:
        """The images to score; of `all` those that nothing is fitted on.

        Raises:
            DataError: there are none.
        """
        part = part_of(manifest, self.scored)
        if self.fitted is None:
            return part
        rest = replace(part, frame=part.frame.filter((pl.col("split") != self.fitted).fill_null(True)))
        if not rest.frame.height:
            raise DataError(
                f"Images to score must be others than those of --recalibrate-on. Got all of them in {self.fitted!r}. "
                f"Divide them with {_SPLIT_ANEW} and give --data FOLDER."
            )
        return rest

    def used(self, manifest: Manifest) -> Manifest:
        """Both together, in the order of the data."""
        scored = self.to_score(manifest)
        if self.fitted is None:
            return scored
        is_scored = pl.col("sample_id").is_in(scored.frame["sample_id"].implode())
        is_fitted = (pl.col("split") == self.fitted).fill_null(False)
        return replace(manifest, frame=manifest.frame.filter(is_scored | is_fitted))

    def require_apart(self, manifest: Manifest) -> Manifest:
        """The data, where no patient, group or picture is fitted on and scored as well; what may be is noted.

        Raises:
            LeakError: one is.
        """
        if self.fitted is None:
            return manifest
        role_of = dict.fromkeys(self.to_score(manifest).frame["sample_id"], "test")
        role_of |= dict.fromkeys(manifest.select(self.fitted).frame["sample_id"], "cal")
        found = find_leaks(manifest.with_splits(role_of))
        if found.leaks:
            kinds = ", ".join(dict.fromkeys(pair.kind for pair in found.leaks))
            named = ", ".join(found.names[:_MOST_NAMED]) + ", ..." * (len(found.names) > _MOST_NAMED)
            raise LeakError(
                "No patient, group or picture may be fitted on and scored as well. Got "
                f"{found.num_shared:,} in {self.fitted} and among the images to score ({kinds}): {named}. Divide the "
                f"data anew with {_SPLIT_ANEW}."
            )
        if not found.suspects:
            return manifest
        told = (
            f"Perhaps in both {self.fitted}, which was recalibrated on, and the images that are scored: "
            f"{len(found.suspects):,} pairs of images or groups, by ids that were inferred or looks that are alike."
        )
        log.warning("%s", told)
        return replace(manifest, notes=(*manifest.notes, told))


def require_parts(parts: Parts, manifest: Manifest, classifier: Classifier) -> None:
    """Stops before anything is compared or scored where the data or the bundle do not allow what is asked for.

    Raises:
        SpecError: one split is to be both, or the bundle's networks were calibrated one by one.
        DataError: nothing to fit on, or it lacks a column that the bundle's decision needs.
    """
    if parts.fitted is None:
        return
    if parts.fitted == parts.scored:
        raise SpecError(
            "Images that are fitted on are not scored, so --recalibrate-on and --split must be two splits. Got "
            f"{parts.fitted} for both. Name another one to score, or divide the data with {_SPLIT_ANEW}."
        )
    if classifier.network_spec.members > 1:
        raise SpecError(
            "A recalibration is fitted to the outputs of one network. Got a bundle of "
            f"{classifier.network_spec.members}, each calibrated with its own fold. Leave out --recalibrate-on, or "
            "train one network with decision.fit_on=cal."
        )
    part, decision = manifest.select(parts.fitted), classifier.decision
    if not part.frame.height:
        present = ", ".join(sorted(set(manifest.frame["split"].drop_nulls()))) or "none"
        raise DataError(
            f"--recalibrate-on must name a split that holds images. Got none in {parts.fitted!r}. Splits here: "
            f"{present}. Make one with {_SPLIT_ANEW} and give --data FOLDER."
        )
    needed = {UNIT_COLUMNS.get(decision.unit): f"answers are for one {decision.unit}"}
    if decision.conformal is not None and decision.conformal.by not in ("all", "class"):
        needed[decision.conformal.by] = f"prediction sets are fitted by {decision.conformal.by}"
    for column, why in needed.items():
        if column is not None and (column not in part.frame.columns or part.frame[column].is_null().all()):
            raise DataError(
                f"Images to recalibrate on must have the column {column}, as the bundle's {why}. Got none with it in "
                f"{parts.fitted}. Add it, or leave out --recalibrate-on."
            )
    require_answers(reference_table(part, classifier.labels), classifier.labels, decision)


def refit(classifier: Classifier, manifest: Manifest, split: str, runtime: Runtime) -> Manifest:
    """Gives the classifier the decision that these images ask for, and provenance that tells of it; saves nothing.

    Args:
        split: the part to fit on.
        runtime: of this process alone.
    Returns:
        the data, with a note where the part is smaller than a fit should have.
    Raises:
        DecisionError: too few cases for what the bundle's decision has.
    """
    part, former = manifest.select(split), classifier.decision
    table = score_manifest(classifier, part, runtime, batch_size=32)
    units = at_unit(table, former).predictions
    try:
        decision = refitted_decision(former, units)
    except DecisionError as error:
        raise DecisionError(f"{error} Here that is {_described(units, former, split)}. Nothing was written.") from error
    assert classifier.provenance is not None  # a loaded one has it
    found = Recalibration(
        former_bundle_id=classifier.bundle_id,
        split=split,
        num_images=table.scored.height,
        num_units=decision.calibration.num_units,
        num_groups=decision.calibration.num_groups,
        data_digest=part.digest,
    )
    classifier.decision = decision
    classifier.provenance = classifier.provenance.model_copy(update={"recalibration": found})
    if has_enough(part.frame, manifest):
        return manifest
    told = (
        f"Recalibrated on {split}, which has fewer than {ENOUGH_GROUPS} groups, or than {ENOUGH_GROUPS_OF_A_CLASS} of "
        "a class: what was fitted would come out otherwise on other images."
    )
    log.warning("%s", told)
    return replace(manifest, notes=(*manifest.notes, told))


def refitted_decision(former: Decision, units: Predictions) -> Decision:
    """The decision with calibration, thresholds and prediction sets fitted again on these units.

    Raises:
        DecisionError: too few cases.
    """
    if not units.scored.height:
        raise DecisionError("A decision is fitted on images with a reference label. Got none. Look at the split.")
    absent = [name for name, count in _cases_of(units).items() if not count]
    if absent and not units.is_multi_label:
        raise DecisionError(
            f"A calibration with an intercept a class needs cases of every class. Got none of {', '.join(absent)}. Add "
            "some to the split that is recalibrated on."
        )
    calibration = fit_calibration(
        member_scores(units.scored, units.classes)[0],
        units.y_true,
        units.groups,
        method="auto",
        needs_intercept=True,
        fitted_on="other_data",
        several=units.is_multi_label,
    )
    # A limit for referral was fitted to the former probabilities, and nobody has said what share it was.
    kept = former.model_copy(update={"calibration": calibration, "refer_below": None})
    return with_thresholds_and_sets(kept, _rules_of(former), units, "other_data")


def _rules_of(decision: Decision) -> DecisionRecipe:
    """What would have to be asked for to get such thresholds and prediction sets; one rule is for all questions."""
    asked: dict[str, Any] = {"questions": decision.questions}
    if decision.thresholds:
        first = decision.thresholds[0]
        asked |= {"threshold": first.rule} | ({} if first.sensitivity is None else {"sensitivity": first.sensitivity})
    if (sets := decision.conformal) is not None:
        asked |= {"conformal": sets.score, "alpha": sets.alpha, "conformal_by": sets.by}
    return DecisionRecipe(**asked)


def _described(units: Predictions, decision: Decision, split: str) -> str:
    """The part in numbers: units and groups, and how many have each class."""
    groups = len(set(units.groups or units.scored["sample_id"]))
    listed = ", ".join(f"{name} {count:,}" for name, count in _cases_of(units).items())
    return f"the split {split} with {units.scored.height:,} {decision.unit}s in {groups:,} groups ({listed})"


def _cases_of(units: Predictions) -> dict[str, int]:
    """How many scored units have each class."""
    y_true = units.y_true
    shown = y_true == 1 if units.is_multi_label else y_true[:, None] == np.arange(len(units.classes))
    return dict(zip(units.classes, shown.sum(axis=0).tolist(), strict=True))


def known_with(bundle: Path, part: Manifest, split: str) -> KnownImages | None:
    """The images that the recalibrated bundle was made with; None where the former one keeps none.

    Of a bundle without them nobody would know whether images were trained on, whatever was added.
    """
    former, own = read_known_images(bundle), known_images(part, [split])
    if former is None:
        return None
    return KnownImages(
        tuple(sorted({*former.pixels, *own.pixels})),
        tuple(sorted({*former.looks, *own.looks})),
    )
