"""A bundle on other data: read, mapped to its classes, compared with what it was trained on, scored and stored."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chiron.audit.ledger import project_folder
from chiron.audit.overlap import Overlap
from chiron.audit.sharing_key import sharing_key
from chiron.classifier import Classifier, load
from chiron.core.errors import DataError, SpecError
from chiron.core.files import output_error, remove_folder
from chiron.data.attributes import subgroup_columns
from chiron.data.manifest import Manifest
from chiron.data.private import Privacy, is_private
from chiron.data.reading import read_dataset
from chiron.data.units import require_answers, require_unit
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import reference_table, score_manifest
from chiron.workflows.external import External, map_labels, overlap_of, without_overlap
from chiron.workflows.look import enter_look, headline_split, now
from chiron.workflows.privacy import as_kept
from chiron.workflows.recalibrate import Parts, known_with, refit, require_parts
from chiron.workflows.run_folder import command_line, environment
from chiron.workflows.stored import bundle_provenance

BUNDLE = "bundle"  # folder of the recalibrated one, in that of the results
_RESULTS = ("evaluation_metrics.json", "report.html", "predictions.json", "predictions.csv")  # last written first


def score_other_data(
    bundle: Path,
    data: Path,
    folder: Path,
    how: External,
    *,
    split: str | None,
    privacy: Privacy,
    device: str,
    threads: int | None,
) -> Path:
    """Scores the images and stores table, manifest and words, from which the report is written; returns the table.

    Raises:
        DataError: classes that the bundle does not know, nothing to score, or images of one unit with other labels.
        LeakError: training has seen some of the images, and nobody said what to do about them.
    """
    runtime = start_runtime(device=device, threads=threads)
    world = runtime.world
    classifier = load(bundle, device=str(runtime.device))
    layout = replace(how.layout, one_class=True, id_key=partial(sharing_key, project_folder(folder)))
    former = classifier.decision

    def read() -> tuple[Manifest, Overlap]:
        manifest = as_kept(with_classes_of(classifier, read_dataset(data, layout), how.labels_map), privacy, folder)
        subgroup_columns(manifest.frame.columns, {}, how.subgroups)
        decision = former if how.unit is None else former.model_copy(update={"unit": how.unit})
        require_unit(manifest.frame, decision.unit)
        parts = Parts(split or headline_split(manifest), how.recalibrate_on)
        require_parts(parts, manifest, classifier)
        found = overlap_of(bundle, parts.used(manifest))
        manifest = parts.require_apart(without_overlap(manifest, found, how.when_seen))
        references = reference_table(parts.to_score(manifest), classifier.labels)
        require_answers(references, classifier.labels, decision)
        if parts.fitted is not None:
            manifest = refit(classifier, manifest, parts.fitted, runtime.alone())
        remove_former_results(folder)  # all is told before anything is written
        manifest.save(folder)
        if parts.fitted is not None:
            classifier.save(folder / BUNDLE, known=known_with(bundle, manifest, parts.fitted))
        return manifest, found

    manifest, seen = world.by_main(read) or (Manifest.load(folder), None)
    if how.recalibrate_on is not None:
        bundle = folder / BUNDLE
        classifier = load(bundle, device=str(runtime.device))
    hide = (data, layout.images, layout.metadata) if is_private(manifest) else ()
    chosen = split or headline_split(manifest)
    part = Parts(chosen, how.recalibrate_on).to_score(manifest)
    looks = world.by_main(lambda: enter_look(folder, classifier.bundle_id, part, hide))
    predictions = score_manifest(classifier, part, runtime, batch_size=32, tta=how.tta)
    table = folder / "predictions.csv"
    if seen is None:  # not the main process
        return table
    provenance = bundle_provenance(bundle)
    leaks = [f"{count} pairs, named in the training run"] if (count := provenance.get("accepted_leaks")) else []
    if how.when_seen == "accept":
        scored = set(part.frame["sample_id"])
        counts = {"this test": len(scored.intersection(seen.seen)), "the recalibration": len(set(seen.seen) - scored)}
        leaks += [f"{count} images of {what} that the training has seen" for what, count in counts.items() if count]
    words = {
        "title": classifier.network_spec.name if hide else f"{classifier.network_spec.name} on {data.name}",
        "init": str(provenance.get("init", "not stated")),
        "task": classifier.intended_use.question,
        "population": classifier.intended_use.population,
        "reference_standard": classifier.intended_use.reference_standard,
        "clinic_prevalence": dict(classifier.intended_use.prevalence) or None,
        "num_parameters": provenance.get("num_parameters"),
        "sanity_steps": provenance.get("recipe", {}).get("train", {}).get("sanity_steps"),
        "leaks_accepted": leaks,
        # A bundle does not know its training images, so only the user can say that these are others.
        "split_scored": "external" if split == "external" else "unknown",
        "scored_part": chosen,
        "environment": environment(),
        "command": command_line(hide),
    }
    planned = provenance.get("recipe", {}).get("evaluate", {}).get("subgroups", [])
    facts: dict[str, Any] = {"subgroups": list(how.subgroups), "planned_subgroups": planned, "overlap": seen.to_json()}
    if how.recalibrate_on is not None:
        told = {"unit": former.unit, "former_decision": former.model_dump(mode="json")}
        facts["recalibration"] = provenance["recalibration"] | told
    predictions.with_facts(test_looks=looks, scored=now(), report=words, **facts).save(table)
    return table


def require_no_trained_bundle(folder: Path, target: Path) -> None:
    """Stops at an output that holds a bundle: the one that is evaluated, or one that no evaluation has made.

    Raises:
        SpecError: it does.
    """
    own = folder / BUNDLE
    if not (own / "bundle.json").is_file():
        return
    if own.resolve() == target.resolve() or not _is_recalibrated(own):
        raise SpecError(
            f"The output must not hold a bundle that is to be kept. Got {own}. Choose another --out: results there "
            "would replace it."
        )


def _is_recalibrated(bundle: Path) -> bool:
    try:
        return bundle_provenance(bundle).get("recalibration") is not None
    except (ValueError, KeyError, AttributeError):  # damaged, or of another program
        return False


def remove_former_results(folder: Path) -> None:
    """Removes what an earlier evaluation left, so that an end half-way leaves no results of another bundle.

    Raises:
        OutputError: a file cannot be removed.
    """
    try:
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
        if (folder / BUNDLE / "bundle.json").is_file():
            remove_folder(folder / BUNDLE)
    except OSError as error:
        raise output_error(folder, error) from error


def with_classes_of(
    classifier: Classifier, manifest: Manifest, labels_map: Mapping[str, str | None] | None
) -> Manifest:
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
    if labels_map is not None:
        return map_labels(manifest, labels_map, names)
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
            "Name the bundle's class, or null, for each in a YAML file and add --labels-map FILE."
        )
    return manifest.rename_classes({name: by_case[name.casefold()] for name in manifest.classes})
