"""`chiron evaluate`: a run, a bundle on other data, or a table of predictions; numbers, figures and a report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from chiron.audit.leaks import require_no_leaks
from chiron.audit.ledger import count_looks, project_folder, record_look
from chiron.classifier import Classifier, load
from chiron.core.errors import DataError, SpecError
from chiron.core.files import require_new, require_outside, write_text
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.reading import read_dataset
from chiron.data.split import split_summary
from chiron.data.unchanged import require_unchanged
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import score_manifest
from chiron.metrics.evaluation import evaluate as evaluate_arrays
from chiron.report.context import ReportContext
from chiron.report.figures import write_figures
from chiron.report.page import write_report
from chiron.spec.layout import Layout
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import EvaluateRecipe, Recipe
from chiron.workflows.overfit import refuse_overfit_check
from chiron.workflows.run_folder import RunFolder, command_line, environment, is_run, open_run

RUN_SPLITS = ("val", "cal", "test", "external")


@dataclass(frozen=True)
class Evaluated:
    """Where the results stand, and the numbers."""

    folder: Path
    numbers: dict[str, Any]

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / "report.html"


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    positive: str | None = None,
    reader: str | None = None,
    groups: str | None = None,
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Evaluated:
    """Evaluates a run folder, a bundle (with `data`), or a predictions CSV.

    A run's test split is scored on the first call and enters the test ledger; later calls recompute from the stored
    table. Results of a run stand in the run folder; all others in `out`.

    Raises:
        SpecError: the target is none of the three, or options do not fit it.
        DataError: there is nothing to score.
    """
    path = Path(target)
    if is_run(path):
        refuse_overfit_check(path, read_recipe(str(open_run(path).recipe)), to="evaluate")
    if is_run(path) and data is None:
        run = open_run(path)
        ignored = {"--out": out, "--positive": positive, "--reader": reader, "--groups": groups}
        if given := [name for name, value in ignored.items() if value is not None]:
            raise SpecError(f"A run keeps its own results, classes and groups. Got {', '.join(given)}. Leave it out.")
        chosen = split or _headline_split(Manifest.load(run.path))
        if chosen not in RUN_SPLITS:
            raise SpecError(f"The split of a run to score must be {', '.join(RUN_SPLITS)}. Got {chosen!r}.")
        if not run.predictions(chosen).is_file():
            score_run(run, chosen, device=device, threads=threads)
        return evaluate_run(run, split=chosen)
    folder = Path(out) if out is not None else Path("evaluation")
    require_new(folder, force=force)
    if path.suffix.lower() == ".csv":
        if data is not None:
            raise SpecError("A predictions table is evaluated as it is. Got --data as well. Leave it out.")
        return evaluate_table(Predictions.load(path, positive=positive), folder, source=path.name, split=split)
    if not (path / "bundle.json").is_file() and not is_run(path):
        raise SpecError(f"chiron evaluate takes a run folder, a bundle or a predictions CSV. Got {path}.")
    if data is None:
        raise SpecError(f"A bundle is evaluated on images with labels. Got {path} alone. Add --data PATH.")
    require_outside(folder, Path(data))
    return _evaluate_bundle(
        path, Path(data), folder, split=split, reader=reader, groups=groups, device=device, threads=threads
    )


def score_run(run: RunFolder, split: str, *, device: str = "auto", threads: int | None = None) -> None:
    """Scores one split with the run's bundle and stores the table; a look at the test split enters the ledger."""
    recipe, manifest = read_recipe(str(run.recipe)), Manifest.load(run.path)
    part = _part(manifest, split)
    require_unchanged(part)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(run.bundle, device=str(runtime.device))
    looks = _look(run.path, classifier, part) if split in {"test", "external"} else None
    table = score_manifest(classifier, part, runtime, batch_size=recipe.train.batch_size, seed=recipe.train.seed)
    _with_facts(table, test_looks=looks, leaks_accepted=_accepted(manifest, recipe)).save(run.predictions(split))


def evaluate_run(run: RunFolder, *, split: str, others: Sequence[Mapping[str, Any]] = ()) -> Evaluated:
    """Numbers, figures and report of a stored table of the run; written into the run folder, newest last.

    Args:
        others: rows of other models on the same images: {"name", "params", "init", "evaluation"}.
    """
    recipe, manifest, facts = read_recipe(str(run.recipe)), Manifest.load(run.path), run.read_facts()
    predictions = Predictions.load(run.predictions(split))
    context = ReportContext(
        title=run.path.name,
        model=recipe.model.name,
        init=recipe.model.init,
        recipe_text=run.recipe.read_text(encoding="utf-8"),
        task=recipe.intended_use.question,
        population=recipe.intended_use.population,
        reference_standard=recipe.intended_use.reference_standard,
        num_parameters=_bundle_provenance(run.bundle).get("num_parameters"),
        num_unreadable=int((manifest.frame["status"] == "unreadable").sum()),
        leaks_accepted=_accepted(manifest, recipe),
        test_looks=_test_looks(run, manifest, split),
        split_scored=split,  # type: ignore[arg-type]
        selection_metric=f"val_{recipe.train.select_by}",
        best_epoch=facts.get("best_epoch"),
        seeds=[recipe.train.seed],
        environment=json.loads(run.environment.read_text(encoding="utf-8")),
        others=list(others),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=facts.get("command", ""),
        **_data_facts(manifest),
    )
    return _write(run.path, predictions, recipe.evaluate, context, run.read_history())


def evaluate_table(predictions: Predictions, folder: Path, *, source: str, split: str | None = None) -> Evaluated:
    """Numbers, figures and report of a table of predictions, from Chiron or elsewhere."""
    if split is not None:
        predictions = _of_split(predictions, split)
    context = ReportContext(
        title=source,
        model=str(predictions.facts.get("model", "not stated")),
        init="not stated",
        recipe_text="",
        data_source=source,
        reader="predictions table",
        grouping=str(predictions.facts.get("grouping", "not stated")),
        splits={},
        num_unreadable=int((predictions.frame["status"] == "unreadable").sum()),
        leaks_accepted=list(predictions.facts.get("leaks_accepted", [])),
        test_looks=predictions.facts.get("test_looks"),
        split_scored=split or _only_split(predictions),  # type: ignore[arg-type]
        environment=environment(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
    )
    return _write(folder, predictions, EvaluateRecipe(), context, [])


def _evaluate_bundle(
    bundle: Path,
    data: Path,
    folder: Path,
    *,
    split: str | None,
    reader: str | None,
    groups: str | None,
    device: str,
    threads: int | None,
) -> Evaluated:
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(bundle, device=str(runtime.device))
    manifest = read_dataset(data, Layout(reader=reader, groups=groups))
    unknown = sorted(set(manifest.classes) - set(classifier.labels.names))
    if unknown:
        raise DataError(
            f"The data's classes must be the bundle's ({', '.join(classifier.labels.names)}). Got {', '.join(unknown)}."
        )
    chosen = split or _headline_split(manifest)
    part = _part(manifest, chosen)
    looks = _look(folder, classifier, part)
    predictions = _with_facts(score_manifest(classifier, part, runtime, batch_size=32), test_looks=looks)
    provenance = _bundle_provenance(bundle)
    context = ReportContext(
        title=f"{classifier.network_spec.name} on {data.name}",
        model=classifier.network_spec.name,
        init=str(provenance.get("init", "not stated")),
        recipe_text="",
        task=classifier.intended_use.question,
        population=classifier.intended_use.population,
        reference_standard=classifier.intended_use.reference_standard,
        num_parameters=provenance.get("num_parameters"),
        num_unreadable=int((part.frame["status"] == "unreadable").sum()),
        leaks_accepted=[f"{provenance['accepted_leaks']} pairs, named in the training run"]
        if provenance.get("accepted_leaks")
        else [],
        test_looks=looks,
        # A bundle does not know its training images, so only the user can say that these are others.
        split_scored="external" if split == "external" else "unknown",
        environment=environment(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        **_data_facts(manifest) | {"splits": {}},
    )
    folder.mkdir(parents=True, exist_ok=True)
    predictions.save(folder / "predictions.csv")
    return _write(folder, predictions, EvaluateRecipe(), context, [])


def _write(
    folder: Path, predictions: Predictions, settings: EvaluateRecipe, context: ReportContext, history: list[dict]
) -> Evaluated:
    if not predictions.scored.height:
        raise DataError("Scoring needs images with a reference label. Got none with status ok. Fill in y_true.")
    numbers = evaluate_arrays(
        predictions.y_true,
        predictions.y_prob,
        classes=predictions.classes,
        positive=predictions.positive,
        groups=predictions.groups,
        num_resamples=settings.num_resamples,
        confidence=settings.confidence,
    ).to_json()
    numbers["split"] = context.split_scored
    numbers["model_id"] = predictions.facts.get("bundle_id")
    write_text(folder / "evaluation_metrics.json", json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False))
    write_figures(
        numbers,
        history or None,
        folder / "figures",
        selection_metric=context.selection_metric,
        best_epoch=context.best_epoch,
    )
    write_report(folder / "report.html", numbers, context, history or None)
    return Evaluated(folder, numbers)


def _headline_split(manifest: Manifest) -> str:
    present = set(manifest.frame["split"].drop_nulls())
    return next((split for split in ("test", "external", "val") if split in present), "all")


def _accepted(manifest: Manifest, recipe: Recipe) -> list[str]:
    """Names of the leaks that the run was trained in spite of."""
    return [pair.name for pair in require_no_leaks(manifest, recipe.data.accept_leaks).accepted]


def _of_split(predictions: Predictions, split: str) -> Predictions:
    """The rows of one split of a table that says which is which."""
    frame = predictions.frame
    present = sorted(set(frame["split"].drop_nulls())) if "split" in frame.columns else []
    if split not in present or split not in RUN_SPLITS:
        raise SpecError(
            f"--split must be one of {', '.join(RUN_SPLITS)} that the table has. Got {split!r}; "
            f"the table has {', '.join(present) or 'no column split'}."
        )
    return replace(predictions, frame=frame.filter(frame["split"] == split))


def _only_split(predictions: Predictions) -> str:
    """The split that a table was written for, where it says one."""
    said = set(predictions.frame["split"].drop_nulls()) if "split" in predictions.frame.columns else set()
    return said.pop() if len(said) == 1 and said <= set(RUN_SPLITS) else "unknown"


def _part(manifest: Manifest, split: str) -> Manifest:
    if split == "all":
        return manifest
    part = manifest.select(split)
    if not part.frame.height:
        present = ", ".join(sorted(set(manifest.frame["split"].drop_nulls()))) or "none"
        raise DataError(f"The split to score must hold images. Got none in {split!r}. Splits here: {present}.")
    return part


def _look(output: Path, classifier: Classifier, part: Manifest) -> int | Literal["unknown"]:
    """Enters the scoring into the project's ledger, before it happens, and returns the number of looks so far."""
    project = project_folder(output)
    contents = part.content_hashes()
    record_look(project, bundle_id=classifier.bundle_id, contents=contents, command=command_line())
    looks = count_looks(project, contents)
    return "unknown" if looks is None else looks


def _test_looks(run: RunFolder, manifest: Manifest, split: str) -> Any:
    """Looks at the split that is told of, or, for a tuning split, at the test split."""
    watched = split if split in {"test", "external"} else "test"
    looks = count_looks(project_folder(run.path), manifest.select(watched).content_hashes())
    table = run.predictions(watched).with_suffix(".json")
    stored = json.loads(table.read_text(encoding="utf-8")).get("test_looks") if table.is_file() else 0
    if looks is None or stored == "unknown" or looks < (stored or 0):  # a ledger that lost lines
        return "unknown"
    return looks or None


def _with_facts(predictions: Predictions, **facts: Any) -> Predictions:
    return replace(predictions, facts=predictions.facts | facts)


def _bundle_provenance(bundle: Path) -> dict[str, Any]:
    bundle = bundle / "bundle" if (bundle / "bundle").is_dir() else bundle
    return json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["provenance"]


def _data_facts(manifest: Manifest) -> dict[str, Any]:
    """What a report says of the data."""
    certainty = set(manifest.id_certainty.values())
    patients = "patient_id" in manifest.id_certainty
    return {
        "data_source": manifest.root.name,
        "reader": manifest.reader,
        "grouping": manifest.grouping,
        "splits": split_summary(manifest),
        "patients": "known" if patients else "unknown",
        "ids": "absent" if not certainty else "inferred" if "inferred" in certainty else "certain",
        "data_notes": list(manifest.notes),
    }
