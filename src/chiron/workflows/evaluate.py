"""`chiron evaluate`: a run, a bundle on other data, or a table of predictions; numbers, figures and a report."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from chiron.audit.ledger import count_looks, project_folder, record_look
from chiron.audit.sharing_key import sharing_key
from chiron.classifier import Classifier, load
from chiron.core.errors import DataError, SpecError
from chiron.core.files import require_new, require_outside
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.private import Privacy, is_private
from chiron.data.reading import read_dataset
from chiron.data.unchanged import require_unchanged
from chiron.engine.runtime import Runtime, start_runtime
from chiron.engine.scoring import score_manifest
from chiron.spec.decision import Unit
from chiron.spec.layout import Layout
from chiron.spec.reading import read_recipe
from chiron.workflows.overfit import refuse_overfit_check
from chiron.workflows.privacy import as_kept
from chiron.workflows.report import write_results
from chiron.workflows.run_folder import RunFolder, command_line, environment, is_run, open_run
from chiron.workflows.sanity import refuse_sanity_run
from chiron.workflows.stored import (
    RUN_SPLITS,
    accepted_leaks,
    bundle_provenance,
    store_comparison,
    stored_run,
    stored_table,
)

log = logging.getLogger("chiron.evaluate")
_RECOGNIZED = Layout()


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
    unit: Unit | None = None,
    layout: Layout = _RECOGNIZED,
    privacy: Privacy = "auto",
    pictures: bool = True,
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Evaluated:
    """Evaluates a run folder, a bundle (with `data`), or a predictions CSV.

    A run's test split is scored on the first call of each bundle and enters the test ledger; later calls recompute from
    the stored table. Results of a run stand in the run folder; all others in `out`.

    Args:
        data: images with labels, for a bundle; `layout` says how to read them. Whole numbers as labels count the
            bundle's classes from 0.
        unit: what one answer is for; by default what the bundle says, of a table from elsewhere the image.
        privacy: whether the tables hold names of images, see `chiron.data.private`.
        pictures: show those of the failures on the page.
    Raises:
        SpecError: the target is none of the three, or options do not fit it.
        DataError: there is nothing to score.
    """
    path, world = Path(target), start_runtime(device=device, threads=threads).world
    if is_run(path):
        refuse_overfit_check(path, read_recipe(str(open_run(path).recipe)), to="evaluate")
    if is_run(path) and data is None:
        run = open_run(path)
        given = [name for name, value in {"--out": out, "--positive": positive}.items() if value is not None]
        given += ["how to read data"] * (layout != _RECOGNIZED)
        if given:
            raise SpecError(f"A run keeps its own results, classes and groups. Got {', '.join(given)}. Leave it out.")
        chosen = split or _headline_split(Manifest.load(run.path))
        if chosen not in RUN_SPLITS:
            raise SpecError(f"The split of a run to score must be {', '.join(RUN_SPLITS)}. Got {chosen!r}.")
        refuse_sanity_run(run.path, read_recipe(str(run.recipe)), chosen)
        if world.any(world.is_main and not is_scored(run, chosen)):
            score_run(run, chosen, device=device, threads=threads)
        return world.by_main(
            lambda: evaluate_run(run, split=chosen, unit=unit, pictures=pictures)
        ) or _evaluated_elsewhere(run.path)
    folder = Path(out) if out is not None else Path("evaluation")
    world.by_main(lambda: require_new(folder, force=force))
    if path.suffix.lower() == ".csv":
        if data is not None:
            raise SpecError("A predictions table is evaluated as it is. Got --data as well. Leave it out.")
        made = world.by_main(
            lambda: evaluate_table(path, folder, split=split, positive=positive, unit=unit, pictures=pictures)
        )
        return made or _evaluated_elsewhere(folder)
    if not (path / "bundle.json").is_file() and not is_run(path):
        raise SpecError(f"chiron evaluate takes a run folder, a bundle or a predictions CSV. Got {path}.")
    if data is None:
        raise SpecError(f"A bundle is evaluated on images with labels. Got {path} alone. Add --data PATH.")
    require_outside(folder, Path(data))
    runtime = start_runtime(device=device, threads=threads)
    return _evaluate_bundle(
        path, Path(data), folder, runtime, split=split, layout=layout, privacy=privacy, unit=unit, pictures=pictures
    )


def _evaluated_elsewhere(folder: Path) -> Evaluated:
    """What the main process has written."""
    return Evaluated(folder, RunFolder(folder).read_metrics())


def is_scored(run: RunFolder, split: str) -> bool:
    """Whether the split has a table of the run's bundle as it is: another decision is another bundle."""
    table, bundle_id = run.predictions(split), run.read_facts().get("bundle_id")
    return table.is_file() and Predictions.load(table).facts.get("bundle_id") == bundle_id


def score_run(run: RunFolder, split: str, *, device: str = "auto", threads: int | None = None) -> None:
    """Scores one split with the run's bundle and stores the table; a look at the test split enters the ledger."""
    recipe, manifest = read_recipe(str(run.recipe)), Manifest.load(run.path)
    part = _part(manifest, split)
    require_unchanged(part)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(run.bundle, device=str(runtime.device))
    if split == "cal" and len(classifier.networks) > 1:
        raise SpecError(
            f"A split to score must be one that no network was trained on. Got cal of the cross-fitted {run.path}, "
            "which every network but one learned from. Score val or test."
        )
    looks = None
    if split in {"test", "external"}:
        looks = runtime.world.by_main(lambda: _look(run.path, classifier, part))
    table = score_manifest(classifier, part, runtime, batch_size=recipe.train.batch_size, seed=recipe.train.seed)
    if runtime.world.is_main:
        facts = {"test_looks": looks, "leaks_accepted": accepted_leaks(manifest, recipe), "scored": _now()}
        table.with_facts(**facts).save(run.predictions(split))


def evaluate_run(
    run: RunFolder,
    *,
    split: str,
    others: Sequence[Mapping[str, Any]] = (),
    unit: Unit | None = None,
    pictures: bool = True,
) -> Evaluated:
    """Numbers, figures and report of a stored table of the run; written into the run folder, newest last.

    Args:
        others: rows of other models on the same images: {"name", "params", "init", "evaluation"}; they are kept.
        unit: what one answer is for; by default what the bundle says.
    """
    if others:
        store_comparison(run, split, others)
    return Evaluated(run.path, write_results(run.path, stored_run(run, split, unit=unit), pictures=pictures))


def evaluate_table(
    path: Path,
    folder: Path,
    *,
    split: str | None = None,
    positive: str | None = None,
    unit: Unit | None = None,
    pictures: bool = True,
) -> Evaluated:
    """Numbers, figures and report of a table of predictions, from Chiron or elsewhere."""
    stored = stored_table(path, split=split, positive=positive, unit=unit)
    return Evaluated(folder, write_results(folder, stored, pictures=pictures))


def _evaluate_bundle(
    bundle: Path,
    data: Path,
    folder: Path,
    runtime: Runtime,
    *,
    split: str | None,
    layout: Layout,
    privacy: Privacy,
    unit: Unit | None,
    pictures: bool,
) -> Evaluated:
    """Scores the images and stores table, manifest and words, from which the report can be written again."""
    world = runtime.world
    classifier = load(bundle, device=str(runtime.device))

    def read() -> Manifest:
        manifest = read_dataset(data, replace(layout, id_key=partial(sharing_key, project_folder(folder))))
        manifest = as_kept(_with_classes_of(classifier, manifest), privacy, folder)
        _part(manifest, split or _headline_split(manifest))  # told before anything is written
        manifest.save(folder)
        return manifest

    manifest = world.by_main(read) or Manifest.load(folder)
    hide = (data, layout.images, layout.metadata) if is_private(manifest) else ()
    chosen = split or _headline_split(manifest)
    part = _part(manifest, chosen)
    looks = world.by_main(lambda: _look(folder, classifier, part, hide))
    predictions = score_manifest(classifier, part, runtime, batch_size=32)
    if not world.is_main:
        world.by_main(lambda: None)
        return _evaluated_elsewhere(folder)
    provenance = bundle_provenance(bundle)
    leaks = provenance.get("accepted_leaks")
    words = {
        "title": classifier.network_spec.name if hide else f"{classifier.network_spec.name} on {data.name}",
        "init": str(provenance.get("init", "not stated")),
        "task": classifier.intended_use.question,
        "population": classifier.intended_use.population,
        "reference_standard": classifier.intended_use.reference_standard,
        "clinic_prevalence": dict(classifier.intended_use.prevalence) or None,
        "num_parameters": provenance.get("num_parameters"),
        "sanity_steps": provenance.get("recipe", {}).get("train", {}).get("sanity_steps"),
        "leaks_accepted": [f"{leaks} pairs, named in the training run"] if leaks else [],
        # A bundle does not know its training images, so only the user can say that these are others.
        "split_scored": "external" if split == "external" else "unknown",
        "scored_part": chosen,
        "environment": environment(),
        "command": command_line(hide),
    }
    predictions.with_facts(test_looks=looks, scored=_now(), report=words).save(folder / "predictions.csv")
    done = world.by_main(lambda: evaluate_table(folder / "predictions.csv", folder, unit=unit, pictures=pictures))
    assert done is not None  # this is the main process
    return done


def _with_classes_of(classifier: Classifier, manifest: Manifest) -> Manifest:
    """The data with the bundle's classes: equal but for case, or numbers where the bundle's recipe named them.

    Of several labels an image, those that the bundle does not know are left out, and those that the data lack count as
    not assessed.

    Raises:
        DataError: a class that the bundle does not know.
    """
    names = classifier.labels.names
    if classifier.labels.is_multi_label != manifest.is_multi_label:
        kinds = ("one class an image", "several classes an image")
        raise DataError(
            f"Data and bundle must have the same kind of labels. Got {kinds[manifest.is_multi_label]} in the data, and "
            f"a bundle of {kinds[classifier.labels.is_multi_label]}. Choose other data, or read them with --labels."
        )
    recipe = classifier.provenance.recipe if classifier.provenance is not None else {}
    if all(name.isdecimal() for name in manifest.classes) and recipe.get("labels", {}).get("names"):
        return manifest.with_class_names(names)
    by_case = {name.casefold(): name for name in names}
    if manifest.is_multi_label:  # further findings of the data are no question of this bundle
        known = [name for name in manifest.classes if name.casefold() in by_case]
        manifest = manifest.with_class_names(known) if known else manifest
    unknown = sorted(name for name in manifest.classes if name.casefold() not in by_case)
    if unknown:
        raise DataError(
            f"The data's classes must be the bundle's ({', '.join(names)}). Got {', '.join(unknown)}. "
            "Write the bundle's names into the data."
        )
    return manifest.rename_classes({name: by_case[name.casefold()] for name in manifest.classes})


def _headline_split(manifest: Manifest) -> str:
    present = set(manifest.frame["split"].drop_nulls())
    return next((split for split in ("test", "external", "val") if split in present), "all")


def _part(manifest: Manifest, split: str) -> Manifest:
    if split == "all":
        return manifest
    part = manifest.select(split)
    if not part.frame.height:
        present = ", ".join(sorted(set(manifest.frame["split"].drop_nulls()))) or "none"
        raise DataError(f"The split to score must hold images. Got none in {split!r}. Splits here: {present}.")
    return part


def _look(
    output: Path, classifier: Classifier, part: Manifest, hide: Iterable[Path | None] = ()
) -> int | Literal["unknown"]:
    """Enters the scoring into the project's ledger, before it happens, and returns the number of looks so far."""
    project = project_folder(output)
    contents = part.content_hashes()
    record_look(project, bundle_id=classifier.bundle_id, contents=contents, command=command_line(hide))
    looks = count_looks(project, contents)
    log.info("test ledger in %s: look number %s at these images", project, "unknown" if looks is None else looks)
    return "unknown" if looks is None else looks


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
