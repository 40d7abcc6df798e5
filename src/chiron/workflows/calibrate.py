"""`chiron calibrate`: calibration, thresholds and conformal sets of a run, fitted again from stored tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chiron.bundle import read_known_images
from chiron.classifier import Classifier, load
from chiron.core.errors import DecisionError, SpecError
from chiron.core.files import write_text
from chiron.core.job import require_alone
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.spec.decision import Decision
from chiron.spec.reading import read_recipe, recipe_yaml
from chiron.spec.recipe import Recipe
from chiron.workflows.data import label_space
from chiron.workflows.decision import fit_decision, require_decision, splits_needed, where_to_fit
from chiron.workflows.evaluate import evaluate_run, score_run
from chiron.workflows.overfit import refuse_overfit_check
from chiron.workflows.run_folder import CALIBRATING, RunFolder, find_run
from chiron.workflows.shareable import shareable_recipe

_TABLES = ("val", "cal")  # of the bundle's own network, whatever its decision; test and external are looks


@dataclass(frozen=True)
class Calibrated:
    """The bundle before and after, and what it decides by now."""

    bundle: Path
    former_id: str
    bundle_id: str
    decision: Decision


def calibrate(
    run_folder: str | Path,
    *,
    on: Literal["cal", "val"] | None = None,
    overrides: tuple[str, ...] = (),
    device: str = "auto",
    threads: int | None = None,
) -> Calibrated:
    """Fits the decision of a run again, without training, and writes its bundle anew under an id of its own.

    The weights stay. The run's recipe keeps the new `decision`; val is evaluated again. A test split is scored again by
    the next `evaluate`, which enters the ledger: the bundle is another one. Where it is stopped after the fit, no other
    verb takes the run until it was called again.

    Args:
        on: the split to fit on; val is told as optimistic. By default what the recipe says.
        overrides: `decision.key=value` changes of the recipe.
    Raises:
        SpecError: no run, a change of something else, or a decision that the data cannot have.
        DecisionError: too few cases for what is asked; the bundle stays as it is.
    """
    require_alone("calibrate")
    run = find_run(Path(run_folder))
    if others := [change for change in overrides if not change.strip().startswith("decision")]:
        raise SpecError(
            f"Only the decision can change without training. Got --set {others[0]}. Give decision.KEY=VALUE, or train."
        )
    said = () if on is None else (f"decision.fit_on={'cal' if on == 'cal' else 'reuse_val'}",)
    recipe = read_recipe(str(run.recipe), (*overrides, *said))
    refuse_overfit_check(run.path, recipe, to="calibrate")
    manifest = Manifest.load(run.path)
    fitted_on = where_to_fit(recipe, manifest)
    if fitted_on == "cross_fit" or load(run.bundle).network_spec.members > 1:
        raise SpecError(
            "A cross-fitted decision is fitted with its networks. Got one of them, before or after the change. "
            "Train again with the decision that is wanted."
        )
    require_decision(recipe, manifest, label_space(recipe, manifest))
    for split in splits_needed(recipe.decision, fitted_on):
        if not run.is_scored(split):
            score_run(run, split, device=device, threads=threads)
    classifier, decision = _fitted(run, recipe, manifest)
    run.write_facts(status=CALIBRATING)
    write_text(run.recipe, recipe_yaml(recipe))  # first, so that the same command without its options goes on
    done = _write_decision(run, classifier, decision, recipe)
    if not run.is_scored("val"):
        score_run(run, "val", device=device, threads=threads)
    evaluate_run(run, split="val")
    run.write_facts(status="finished")
    return done


def decide_run(run: RunFolder, recipe: Recipe, manifest: Manifest) -> Calibrated:
    """Fits the decision from the run's stored tables and writes the bundle with it; the weights stay.

    Raises:
        DecisionError: too few cases for what the recipe asks; the bundle stays as it is.
    """
    return _write_decision(run, *_fitted(run, recipe, manifest), recipe)


def _fitted(run: RunFolder, recipe: Recipe, manifest: Manifest) -> tuple[Classifier, Decision]:
    """The run's classifier as it is, and the decision that it is to have."""
    fitted_on = where_to_fit(recipe, manifest)
    tables = {split: Predictions.load(run.predictions(split)) for split in splits_needed(recipe.decision, fitted_on)}
    classifier = load(run.bundle)
    try:
        decision = fit_decision(recipe, tables, fitted_on)
    except DecisionError as error:
        raise DecisionError(
            f"{error} The trained network is kept in {run.bundle}; `chiron calibrate {run.path} --set decision...` "
            "fits again without training."
        ) from error
    return classifier, decision


def _write_decision(run: RunFolder, classifier: Classifier, decision: Decision, recipe: Recipe) -> Calibrated:
    """The run's bundle with this decision, and its id in what was scored by the same network."""
    former = classifier.bundle_id
    classifier.decision = decision
    if classifier.scope is not None:
        limit = {"limit_percent": recipe.decision.scope_percent}
        classifier.scope = classifier.scope.model_copy(update=limit)
    assert classifier.provenance is not None  # a loaded one has it
    classifier.provenance = classifier.provenance.model_copy(update={"recipe": shareable_recipe(recipe)})
    classifier.save(run.bundle, known=read_known_images(run.bundle))
    run.write_facts(bundle_id=classifier.bundle_id)
    for split in _TABLES:
        if run.predictions(split).is_file():
            table = Predictions.load(run.predictions(split))
            if table.facts.get("bundle_id") == former:
                said = decision.model_dump(mode="json")
                table.of_model(classifier.bundle_id).with_facts(decision=said).save(run.predictions(split))
    return Calibrated(run.bundle, former, classifier.bundle_id, decision)


def told_decision(decision: Decision) -> list[str]:
    """What was fitted, a line each."""
    found = decision.calibration
    told = [f"calibration: {found.method}"]
    if found.method != "none":
        told[0] += (
            f", fitted on {found.num_units:,} {decision.unit}s in {found.num_groups:,} groups ({found.fitted_on})"
        )
    told += [
        f"{it.question}: yes from {it.value:.4f} ({it.num_found} of {it.num_positive} positives found)"
        for it in decision.thresholds
    ]
    if decision.conformal is not None:
        told.append(f"prediction sets: {decision.conformal.score}, error rate {decision.conformal.alpha:g}")
    return told
