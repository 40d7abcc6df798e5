"""What a report is made of, gathered from what lies on disk: nothing is scored here and no network is loaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chiron.audit.leaks import require_no_leaks
from chiron.audit.ledger import count_looks, project_folder
from chiron.core.errors import DataError, SpecError
from chiron.core.files import write_text
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.private import is_private
from chiron.data.split import split_summary
from chiron.report.context import ReportContext
from chiron.report.explanations import Explained
from chiron.report.flow import flow_of
from chiron.report.table_one import carried_columns, table_one
from chiron.spec.decision import Unit
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import EvaluateRecipe, Recipe
from chiron.workflows.run_folder import RunFolder, environment

RUN_SPLITS = ("val", "cal", "test", "external")


@dataclass(frozen=True)
class Stored:
    """The tables, settings and words behind one report."""

    predictions: Predictions
    context: ReportContext
    settings: EvaluateRecipe
    history: Sequence[Mapping[str, Any]] = ()
    manifest: Manifest | None = None  # says where the images lie; None for a table from elsewhere
    unit: Unit | None = None  # what one answer is for; None: what the table's decision says
    explained: Explained | None = None  # maps of some images, where they were asked for


def stored_run(run: RunFolder, split: str, *, unit: Unit | None = None) -> Stored:
    """What the run folder holds about one scored split.

    Raises:
        DataError: the split has not been scored, or not by the bundle as it is.
    """
    table = run.predictions(split)
    if not table.is_file():
        raise DataError(
            f"A report is written from stored predictions. Got none of the split {split!r} in {run.path}. "
            f"Score it with `chiron evaluate {run.path} --split {split}`."
        )
    require_of_bundle(run, split)
    recipe, manifest, facts = read_recipe(str(run.recipe)), Manifest.load(run.path), run.read_facts()
    predictions = Predictions.load(table)
    context = ReportContext(
        title=run.path.name,
        model=recipe.model.name,
        init=recipe.model.init,
        recipe_text=run.recipe.read_text(encoding="utf-8"),
        task=recipe.intended_use.question,
        population=recipe.intended_use.population,
        reference_standard=recipe.intended_use.reference_standard,
        clinic_prevalence=recipe.intended_use.prevalence or None,
        num_parameters=bundle_provenance(run.bundle).get("num_parameters"),
        sanity_steps=recipe.train.sanity_steps,
        leaks_accepted=accepted_leaks(manifest, recipe),
        test_looks=_test_looks(run, manifest, split),
        split_scored=split,  # type: ignore[arg-type]
        selection_metric=f"val_{recipe.train.select_by}",
        best_epoch=facts.get("best_epoch"),
        seeds=[recipe.train.seed],
        sampler=recipe.train.sampler,
        class_weights=recipe.train.class_weights,
        color=recipe.input.in_chans == 3,
        environment=json.loads(run.environment.read_text(encoding="utf-8")),
        others=_read_comparison(run, split),
        created=str(predictions.facts.get("scored", "")),
        command=facts.get("command", ""),
        **_data_facts(manifest, predictions, split),
    )
    explained = _stored_explanations(run, split)
    return Stored(predictions, context, recipe.evaluate, run.read_history(), manifest, unit, explained)


def _stored_explanations(run: RunFolder, split: str) -> Explained | None:
    """The maps of this split, where they are of the run's bundle as it is."""
    folder = run.explanations(split)
    if not (folder / "explanations.json").is_file():
        return None
    files = [folder / f"{name}.json" for name in ("explanations", "pictures")]
    facts, pictures = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return Explained(facts, pictures) if facts["bundle_id"] == run.read_facts().get("bundle_id") else None


def require_of_bundle(run: RunFolder, split: str) -> None:
    """Stops at a table that an earlier bundle of the run made: its decision is not the one that the run has now.

    Raises:
        DataError: it is such a table.
    """
    facts = json.loads(run.predictions(split).with_suffix(".json").read_text(encoding="utf-8"))
    made_by, bundle_id = facts.get("bundle_id"), run.read_facts().get("bundle_id")
    if made_by is not None and made_by != bundle_id:
        raise DataError(
            f"Stored predictions must be of the run's bundle {bundle_id}. Got {split} scored by {made_by}, before "
            f"`chiron calibrate`. Score it again with `chiron evaluate {run.path} --split {split}`."
        )


def stored_table(
    path: Path, *, split: str | None = None, positive: str | None = None, unit: Unit | None = None
) -> Stored:
    """What a table of predictions says, with the facts and the manifest that Chiron wrote beside it, if it did.

    Raises:
        SpecError: the table does not hold the split.
    """
    predictions = Predictions.load(path, positive=positive)
    facts = predictions.facts
    said: dict[str, Any] = dict(facts.get("report", {}))  # words of the evaluation that scored the table
    manifest = Manifest.load(path.parent) if said and (path.parent / "manifest.json").is_file() else None
    whole = predictions
    if split is not None and split != said.get("scored_part"):
        predictions = _of_split(predictions, split)
        said["split_scored"] = split
    part = said.pop("scored_part", split or _only_split(predictions))
    if manifest is not None:
        said |= _data_facts(manifest, predictions, part) | {"splits": {}}
    else:
        said |= {"flow": flow_of(None, predictions, part, whole=whole), "columns": carried_columns(predictions.frame)}
    words: dict[str, Any] = {
        "title": path.name,
        "model": str(facts.get("model", "not stated")),
        "init": "not stated",
        "recipe_text": "",
        "data_source": path.name,
        "reader": "predictions table",
        "grouping": str(facts.get("grouping", _grouping_of_table(predictions))),
        "splits": {},
        "num_unreadable": int((predictions.frame["status"] == "unreadable").sum()),
        "num_patients": _num_patients(predictions),
        "patients": "unknown" if _num_patients(predictions) is None else "known",
        "leaks_accepted": list(facts.get("leaks_accepted", [])),
        "test_looks": facts.get("test_looks"),
        "split_scored": _only_split(predictions),
        "environment": {},
        "created": str(facts.get("scored", "")),
    } | said
    settings = EvaluateRecipe(subgroups=tuple(facts.get("planned_subgroups", ())))
    words["environment"] = words["environment"] or environment()
    return Stored(predictions, ReportContext(**words), settings, (), manifest, unit)


def store_comparison(run: RunFolder, split: str, others: Sequence[Mapping[str, Any]]) -> None:
    """Keeps the models that stand beside this one, so that the report can be written again."""
    keys = ("num_images", "num_groups", "overall")
    rows = [dict(row) | {"evaluation": {key: row["evaluation"][key] for key in keys}} for row in others]
    write_text(run.comparison, json.dumps({"split": split, "models": rows}, indent=1, ensure_ascii=False))


def accepted_leaks(manifest: Manifest, recipe: Recipe) -> list[str]:
    """Names of the leaks that the run was trained in spite of."""
    return [pair.name for pair in require_no_leaks(manifest, recipe.data.accept_leaks).accepted]


def bundle_provenance(bundle: Path) -> dict[str, Any]:
    """What `bundle.json` says of how the bundle was made."""
    bundle = bundle / "bundle" if (bundle / "bundle").is_dir() else bundle
    return json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["provenance"]


def _read_comparison(run: RunFolder, split: str) -> list[Mapping[str, Any]]:
    if not run.comparison.is_file():
        return []
    stored = json.loads(run.comparison.read_text(encoding="utf-8"))
    return stored["models"] if stored["split"] == split else []


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


def _grouping_of_table(predictions: Predictions) -> str:
    if predictions.groups is None:
        return "Every image is its own group"
    ids = ["group_id"] if "group_id" in predictions.frame.columns else ["patient_id", "unit_id"]
    return f"Grouped by {' and '.join(name for name in ids if name in predictions.frame.columns)} of the table"


def _test_looks(run: RunFolder, manifest: Manifest, split: str) -> Any:
    """Looks at the split that is told of, or, for a tuning split, at the test split."""
    watched = split if split in {"test", "external"} else "test"
    looks = count_looks(project_folder(run.path), manifest.select(watched).content_hashes())
    table = run.predictions(watched).with_suffix(".json")
    stored = json.loads(table.read_text(encoding="utf-8")).get("test_looks") if table.is_file() else 0
    if looks is None or stored == "unknown" or looks < (stored or 0):  # a ledger that lost lines
        return "unknown"
    return looks or None


def _num_patients(predictions: Predictions) -> int | None:
    """Patients among the scored images; None where an image's patient is not known."""
    scored = predictions.scored
    if "patient_id" not in scored.columns or scored["patient_id"].null_count():
        return None
    return scored["patient_id"].n_unique()


def _num_sites(manifest: Manifest) -> int | None:
    """How many sites the readable images name together, an unknown one counted as one; None without such a column."""
    columns = [name for name, role in manifest.roles.items() if role == "site" and name in manifest.frame.columns]
    usable = manifest.frame.filter(manifest.frame["status"] == "ok")
    return usable.select(columns).n_unique() if columns and usable.height else None


def _data_facts(manifest: Manifest, predictions: Predictions, split: str) -> dict[str, Any]:
    """What a report says of the data."""
    certainty = set(manifest.id_certainty.values())
    unreadable = manifest.frame["status"] == "unreadable"
    return {
        "data_source": "names kept in the project" if is_private(manifest) else manifest.root.name,
        "reader": manifest.reader,
        "grouping": manifest.grouping,
        "splits": split_summary(manifest),
        "patients": "known" if "patient_id" in manifest.id_certainty else "unknown",
        "ids": "absent" if not certainty else "inferred" if "inferred" in certainty else "certain",
        "data_notes": list(manifest.notes),
        "num_unreadable": int(unreadable.sum()),
        "num_patients": _num_patients(predictions),
        "num_sites": _num_sites(manifest),
        "columns": carried_columns(manifest.frame),
        "flow": flow_of(manifest, predictions, split),
        "table_one": table_one(manifest),
    }
