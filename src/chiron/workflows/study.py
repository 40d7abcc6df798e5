"""`chiron study`: models x seeds x folds under one protocol and one budget, scored once all are trained.

Every training is an ordinary run folder; a study that was stopped continues, and several processes may share a folder.
The plan's hash enters the test ledger before the first image of test is scored.
"""

import json
import logging
from pathlib import Path
from typing import Any

from chiron.audit.ledger import EnteredPlan, entered_plans, record_look, record_plan
from chiron.classifier import Classifier, build_network
from chiron.core.errors import DataError, EngineError
from chiron.core.files import claimed
from chiron.core.job import require_alone
from chiron.data.dataset import StoredImages
from chiron.data.manifest import Manifest
from chiron.data.private import is_private
from chiron.data.source import ImageSource
from chiron.engine.features import frozen_features
from chiron.engine.runtime import start_runtime
from chiron.spec.bundle_spec import network_of
from chiron.spec.recipe import Recipe
from chiron.spec.study import read_study
from chiron.spec.sweep import SweepRecipe
from chiron.workflows import baselines
from chiron.workflows.baselines import Fitted, Rows, Split
from chiron.workflows.data import label_space
from chiron.workflows.decision import unfitted_decision
from chiron.workflows.evaluate import evaluate_run, score_run
from chiron.workflows.one_run import DONE, claimed_run, state_of, status_of, train_run
from chiron.workflows.run_folder import RunFolder, command_line
from chiron.workflows.study_plan import PlannedRun, Study, arm_changes, keep_plan, make_study
from chiron.workflows.study_results import write_study
from chiron.workflows.study_scores import baseline_folder, rehearse
from chiron.workflows.sweep import run_sweep
from chiron.workflows.weights import with_input_of_weights

log = logging.getLogger("chiron.study")


def study(
    plan: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    changes: tuple[str, ...] = (),
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> dict[str, Any]:
    """Trains what the plan names and is not trained yet, scores test once a training, and writes the tables.

    Args:
        plan: the study, a YAML file or a packaged name; see `chiron.spec.study`.
        out: its folder.
        data: where the images lie, instead of what the plan says.
        changes: `key=value` changes of every arm's recipe, as a part of the plan.
        resume: continue the study in `out`.

    Returns:
        The content of `study.json`.

    Raises:
        SpecError: a mistake in the plan or a recipe, before anything runs; or a plan that may not change any more.
    """
    require_alone("study")
    asked = read_study(str(plan), changes)
    made = make_study(asked, Path(data or asked.data), Path(out), device=device, threads=threads)
    keep_plan(made, resume=resume)
    while _take_next(made):
        if len(finished := _finished(made)) == 1:  # what only the data show is told after one training, not after all
            rehearse(made, finished)
    if made.is_check:
        rehearse(made, _finished(made))
    elif all(status_of(run.folder) in DONE for run in made.runs):
        with claimed(made.out / ".claims" / "scoring") as mine:
            if mine:
                _score(made)
    return write_study(made, _entered(made))


def _finished(study: Study) -> list[PlannedRun]:
    return [run for run in study.runs if state_of(run.folder) == "finished"]


def _take_next(study: Study) -> bool:
    """Does the next training that nobody works on or has done; False when there is none."""
    for run in study.runs:
        if status_of(run.folder) in DONE:
            continue
        tuned = _tuned(study, run.arm)
        if tuned is None:
            continue
        with claimed_run(run.folder) as mine:
            if mine and status_of(run.folder) not in DONE:
                train_run(
                    study.plan.arms[run.arm].recipe,
                    study.data,
                    run.folder,
                    overrides=(*study.changes(run), *tuned),
                    device=study.device,
                    threads=study.threads,
                )
                return True
    return False


def _tuned(study: Study, arm: str) -> tuple[str, ...] | None:
    """The settings that the arm's search found on val; nothing without a search, None while others still search.

    Raises:
        EngineError: no trial could finish.
    """
    asked = study.plan.arms[arm]
    if not asked.search:
        return ()
    folder = study.out / "tuning" / arm
    with claimed(study.out / ".claims" / f"tuning-{arm}") as mine:
        if not mine:
            return None
        search = SweepRecipe(
            recipe=asked.recipe,
            set=arm_changes(study.plan, asked),
            search=asked.search,
            trials=study.plan.budget.trials,
        )
        done = run_sweep(search, study.data, folder, device=study.device, threads=study.threads)
    found = [row for row in done["settings"] if row["mean"] is not None]
    if not found:
        raise EngineError(
            f"The search of an arm must find settings. Got no finished trial in {folder}. Look at its runs."
        )
    best = done["best"] or found[0]
    return tuple(f"{key}={json.dumps(value)}" for key, value in best["settings"].items())


def _entered(study: Study) -> EnteredPlan | None:
    """The plan as the ledger has it; None before the first scoring."""
    found = entered_plans(study.project, study.study_id, _test_contents(study))
    return found[-1] if found else None


def _test_contents(study: Study) -> list[str]:
    contents: list[str] = []
    for fold in study.folds:
        first = next((run for run in study.runs if run.fold == fold and state_of(run.folder) == "finished"), None)
        if first is not None:
            contents += Manifest.load(first.folder).select("test").content_hashes()
    return contents


def _score(study: Study) -> None:
    """Every finished training on test, once, and the baselines; before them the plan enters the ledger."""
    finished = _finished(study)
    if not finished:
        return
    _require_same_images(finished)
    contents = _test_contents(study)
    if not contents:
        raise DataError("A study scores the test split. Got no image in it. Give it a share with data.fractions.")
    rehearse(study, finished)
    command = _command(study, Manifest.load(finished[0].folder))
    record_plan(study.project, study=study.study_id, plan=study.plan_hash, contents=contents, command=command)
    for run in finished:
        if not RunFolder(run.folder).is_scored("test"):
            log.info("scoring %s", run.folder.name)
            how: dict[str, Any] = {"device": study.device, "threads": study.threads}
            score_run(RunFolder(run.folder), "test", hide=(study.data,), **how)
        if RunFolder(run.folder).read_metrics()["split"] != "test":  # also after a kill between both
            evaluate_run(RunFolder(run.folder), split="test")
    for fold in study.folds:
        first = next((run for run in finished if run.fold == fold), None)
        if first is not None:
            _score_baselines(study, first)


def _command(study: Study, manifest: Manifest) -> str:
    """What the ledger keeps of the command: of data whose names stay in the project, not where they lie."""
    return command_line((study.data,) if is_private(manifest) else ())


def _require_same_images(finished: list[PlannedRun]) -> None:
    """Stops where the images or their parts changed between two trainings of a fold.

    Raises:
        DataError: they did.
    """
    digest: dict[int | None, tuple[str, str]] = {}
    for run in finished:
        found = Manifest.load(run.folder).digest
        before, name = digest.setdefault(run.fold, (found, run.folder.name))
        if found != before:
            raise DataError(
                f"All trainings must see the same images in the same splits. Got others in {run.folder.name} than in "
                f"{name}. Remove the runs that are older than the change, and resume."
            )


def _score_baselines(study: Study, run: PlannedRun) -> None:
    """The baselines of the plan that are not there yet, on the images of a training."""
    missing = [
        name
        for name in study.plan.baselines
        if not RunFolder(baseline_folder(study, name, run.fold)).predictions("test").is_file()
    ]
    if not missing:
        return
    manifest, recipe = Manifest.load(run.folder), study.recipes[run.arm]
    rows, labels = Rows.of(manifest), label_space(recipe, manifest)
    contents = manifest.select("test").content_hashes()
    features, of_network, decision = None, None, unfitted_decision(recipe.decision)
    for name in missing:
        told: dict[str, Any] = {"manifest_of": run.folder.name, "decision": decision.model_dump(mode="json")}
        if name in ("knn", "linear_probe"):
            if features is None:
                features, of_network = _features(study, rows, manifest)
            told["features"] = of_network
        fitted = _fit(name, rows, features)
        if fitted is None:
            log.info("baseline %s: the data have no column that is known before the image", name)
            continue
        bundle = f"{name} of {study.study_id}"
        record_look(study.project, bundle_id=bundle, contents=contents, command=_command(study, manifest))
        folder = baseline_folder(study, name, run.fold)
        baselines.save_tables(name, fitted, rows, labels, folder, told)


def _fit(name: str, rows: Rows, features: Split | None) -> Fitted | None:
    if name in ("knn", "linear_probe"):
        assert features is not None
        return baselines.knn(features, rows) if name == "knn" else baselines.linear_probe(features, rows)
    return {"majority": baselines.majority, "metadata": baselines.metadata, "histogram": baselines.histogram}[name](
        rows
    )


def _features(study: Study, rows: Rows, manifest: Manifest) -> tuple[Split, str]:
    """Features of the network that the plan names, untrained here, and what it is called in the table."""
    recipe, seed = _features_recipe(study), 0
    labels = label_space(recipe, manifest)
    runtime = start_runtime(device=study.device, threads=study.threads)
    model = recipe.model
    network = build_network(network_of(model), recipe.input, labels, init=model.init, weights=model.weights, seed=seed)
    classifier = Classifier([network], network_spec=network_of(model), input_spec=recipe.input, labels=labels)
    classifier.to(runtime.device)
    source = ImageSource(manifest.root)
    features = {
        split: frozen_features(classifier, StoredImages(source, frame["path"].to_list(), recipe.input), runtime)
        for split, frame in rows.frames.items()
    }
    first = "random weights" if model.init == "scratch" else model.init
    return features, f"{model.name}, {first}, {recipe.input.img_size} px"


def _features_recipe(study: Study) -> Recipe:
    return with_input_of_weights(study.features or next(iter(study.recipes.values())))[0]
