"""`chiron evaluate`: a run, a bundle on other data, or a table of predictions; numbers, figures and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chiron.classifier import load
from chiron.core.errors import SpecError
from chiron.core.files import require_new, require_outside
from chiron.data.attributes import subgroup_columns
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.private import Privacy, is_private
from chiron.data.unchanged import require_unchanged
from chiron.data.units import require_answers
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import reference_table, score_manifest
from chiron.spec.decision import Tta, Unit
from chiron.spec.layout import Layout
from chiron.spec.reading import read_recipe
from chiron.workflows.evaluate_bundle import require_no_trained_bundle, score_other_data
from chiron.workflows.experience import keep_experience
from chiron.workflows.explain_run import explain_run
from chiron.workflows.external import External, WhenSeen, read_labels_map
from chiron.workflows.look import enter_look, headline_split, now, part_of
from chiron.workflows.overfit import refuse_overfit_check
from chiron.workflows.report import write_results
from chiron.workflows.run_folder import RunFolder, is_run, open_run
from chiron.workflows.sanity import refuse_sanity_run
from chiron.workflows.stored import RUN_SPLITS, accepted_leaks, store_comparison, stored_run, stored_table

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


@dataclass(frozen=True)
class Asked:
    """How the numbers of a table are wanted: the same table gives them in any way.

    `unit` is what one answer is for, by default what the bundle says and of a table from elsewhere the image;
    `subgroups` are columns to divide by, beside those that the recipe plans; without `pictures` the page shows none.
    """

    unit: Unit | None = None
    subgroups: tuple[str, ...] = ()
    pictures: bool = True


_AS_STORED = Asked()


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    positive: str | None = None,
    unit: Unit | None = None,
    layout: Layout = _RECOGNIZED,
    labels_map: str | Path | None = None,
    overlap: WhenSeen = "stop",
    recalibrate_on: str | None = None,
    subgroups: Sequence[str] = (),
    privacy: Privacy = "auto",
    pictures: bool = True,
    explain: str | None = None,
    tta: Tta = "none",
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Evaluated:
    """Evaluates a run folder, a bundle (with `data`), or a predictions CSV.

    A run's test split is scored on the first call of each bundle and enters the test ledger; later calls recompute from
    the stored table. Results of a run stand in the run folder, at another `unit` than its bundle's in a folder of their
    own in it (`by_image`, `by_unit`, `by_patient`); all others in `out`.

    Args:
        data: images with labels, for a bundle; `layout` says how to read them. Whole numbers as labels count the
            bundle's classes from 0.
        labels_map: YAML file that names the bundle's class, or null, for labels of these data.
        overlap: what to do about images of `data` that the bundle's training has seen: stop, leave-out or accept.
        recalibrate_on: a split of `data` that calibration, thresholds and prediction sets are fitted on again. It is
            not scored; the bundle with the new decision is saved in `out`.
        subgroups: columns to divide by, beside those that the recipe plans.
        unit: what one answer is for; by default what the bundle says, of a table from elsewhere the image.
        privacy: whether the tables hold names of images, see `chiron.data.private`.
        pictures: show those of the failures, and maps, on the page.
        tta: views of each image whose probabilities are averaged; results of a run then stand in `RUN/tta_<views>`.
        explain: an explainer, or `auto`: maps of some right and wrong images of a run, which its report shows.
    Raises:
        SpecError: the target is none of the three, or options do not fit it.
        DataError: there is nothing to score, or to recalibrate on.
        LeakError: the bundle's training has seen images of `data`, or patients or pictures that are recalibrated on
            stand among those to score.
        DecisionError: too few cases to recalibrate on; nothing is written then.
    """
    if data is None:
        of_others = {"--labels-map": labels_map is not None, "--overlap": overlap != "stop"}
        of_others["--recalibrate-on"] = recalibrate_on is not None
        _refuse_idle(of_others | {"--privacy": privacy != "auto"})
    _refuse_maps(explain is not None and (data is not None or not is_run(Path(target))), target)
    _refuse_views(tta, Path(target), explain)
    path, world = Path(target), start_runtime(device=device, threads=threads).world
    asked = Asked(unit, tuple(subgroups), pictures)
    if is_run(path):
        refuse_overfit_check(path, read_recipe(str(open_run(path).recipe)), to="evaluate")
    if is_run(path) and data is None:
        run = open_run(path)
        kept = [name for name, value in {"--out": out, "--positive": positive}.items() if value is not None]
        kept += ["how to read data"] * (layout != _RECOGNIZED)
        if kept:
            raise SpecError(f"A run keeps its own results, classes and groups. Got {', '.join(kept)}. Leave it out.")
        chosen = split or headline_split(Manifest.load(run.path))
        if chosen not in RUN_SPLITS:
            raise SpecError(f"The split of a run to score must be {', '.join(RUN_SPLITS)}. Got {chosen!r}.")
        refuse_sanity_run(run.path, read_recipe(str(run.recipe)), chosen)
        if tta != "none":
            scored = score_run(run, chosen, tta=tta, unit=unit, device=device, threads=threads)
            made = world.by_main(lambda: evaluate_table(scored, scored.parent, asked=asked))
            return made or _evaluated_elsewhere(scored.parent)
        if world.any(world.is_main and not run.is_scored(chosen)):
            score_run(run, chosen, unit=unit, device=device, threads=threads)
        world.by_main(lambda: explain_run(run, chosen, method=explain, device=device, threads=threads))
        made = world.by_main(lambda: evaluate_run(run, split=chosen, asked=asked))
        return made or _evaluated_elsewhere(_results_of(run, chosen, asked))
    folder = Path(out) if out is not None else Path("evaluation")
    world.by_main(lambda: require_new(folder, force=force))
    if path.suffix.lower() == ".csv":
        if data is not None:
            raise SpecError("A predictions table is evaluated as it is. Got --data as well. Leave it out.")
        made = world.by_main(lambda: evaluate_table(path, folder, split=split, positive=positive, asked=asked))
        return made or _evaluated_elsewhere(folder)
    if not (path / "bundle.json").is_file() and not is_run(path):
        raise SpecError(f"chiron evaluate takes a run folder, a bundle or a predictions CSV. Got {path}.")
    if data is None:
        raise SpecError(f"A bundle is evaluated on images with labels. Got {path} alone. Add --data PATH.")
    require_outside(folder, Path(data))
    world.by_main(lambda: require_no_trained_bundle(folder, path))
    how = External(
        layout,
        read_labels_map(labels_map) if labels_map is not None else None,
        overlap,
        asked.subgroups,
        asked.unit,
        recalibrate_on,
        tta,
    )
    table = score_other_data(
        path, Path(data), folder, how, split=split, privacy=privacy, device=device, threads=threads
    )
    return world.by_main(lambda: evaluate_table(table, folder, asked=asked)) or _evaluated_elsewhere(folder)


def _refuse_maps(wanted: bool, target: str | Path) -> None:
    """Stops where maps were asked for and no run holds the images."""
    if wanted:
        raise SpecError(f"--explain is for a run on its own images. Got {target}. Leave it out: see `chiron explain`.")


def _refuse_views(tta: Tta, target: Path, explain: str | None) -> None:
    """Stops where test-time augmentation was asked for and there are no images, or maps of one view beside it."""
    if tta != "none" and target.suffix.lower() == ".csv":
        raise SpecError("A predictions table is evaluated as it is. Got --tta. Leave it out: it needs images.")
    if tta != "none" and explain is not None:
        raise SpecError("Maps explain one view of an image. Got --explain and --tta. Leave one of them out.")


def _refuse_idle(of_other_data: Mapping[str, bool]) -> None:
    """Stops at options that would do nothing without other data."""
    if ignored := ", ".join(name for name, is_given in of_other_data.items() if is_given):
        raise SpecError(f"{ignored} is about other data. Got no --data. Add --data PATH, or leave it out.")


def _results_of(run: RunFolder, split: str, asked: Asked) -> Path:
    """Where the results of a run stand: those of another unit than the bundle's beside the others."""
    own = Predictions.load(run.predictions(split)).decision.unit
    return run.path if asked.unit in (None, own) else run.by_unit(str(asked.unit))


def _evaluated_elsewhere(folder: Path) -> Evaluated:
    """What the main process has written."""
    return Evaluated(folder, RunFolder(folder).read_metrics())


def score_run(
    run: RunFolder,
    split: str,
    *,
    unit: Unit | None = None,
    tta: Tta = "none",
    device: str = "auto",
    threads: int | None = None,
    hide: Sequence[Path | None] = (),
) -> Path:
    """Scores one split with the run's bundle, stores the table and returns its path; a look at test enters the ledger.

    Args:
        unit: what one answer will be for; by default what the bundle says.
        tta: views whose probabilities are averaged; the table then is `RUN/tta_<views>/<split>.csv`, as calibration and
            thresholds were fitted without.
        hide: paths of the command that the ledger must not name where the run keeps no names.
    Raises:
        DataError: images changed, or cannot be made units: they name none, or those of one have different labels.
    """
    recipe, manifest = read_recipe(str(run.recipe)), Manifest.load(run.path)
    part = part_of(manifest, split)
    require_unchanged(part)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(run.bundle, device=str(runtime.device))
    if split == "cal" and len(classifier.networks) > 1:
        raise SpecError(
            f"A split to score must be one that no network was trained on. Got cal of the cross-fitted {run.path}, "
            "which every network but one learned from. Score val or test."
        )
    decision = classifier.decision if unit is None else classifier.decision.model_copy(update={"unit": unit})
    require_answers(reference_table(part, classifier.labels), classifier.labels, decision)  # told before the look
    looks = None
    if split in {"test", "external"}:
        hidden = hide if is_private(manifest) else ()
        looks = runtime.world.by_main(lambda: enter_look(run.path, classifier.bundle_id, part, hidden))
    how: dict[str, Any] = {"batch_size": recipe.train.batch_size, "seed": recipe.train.seed}
    table = score_manifest(classifier, part, runtime, tta=tta, **how)
    path = run.predictions(split) if tta == "none" else run.by_views(tta) / f"{split}.csv"
    if runtime.world.is_main:
        facts = {"test_looks": looks, "leaks_accepted": accepted_leaks(manifest, recipe), "scored": now()}
        table.with_facts(**facts).save(path)
    return path


def evaluate_run(
    run: RunFolder, *, split: str, others: Sequence[Mapping[str, Any]] = (), asked: Asked = _AS_STORED
) -> Evaluated:
    """Numbers, figures and report of a stored table of the run; written into the run folder, newest last.

    Those of another unit than the bundle's stand in a folder of their own in it, such as `by_image`.

    Args:
        others: rows of other models on the same images: {"name", "params", "init", "evaluation"}; they are kept.
        asked: its subgroups stand beside the table from now on.
    """
    if others:
        store_comparison(run, split, others)
    if asked.subgroups:
        _divided(Predictions.load(run.predictions(split)), asked.subgroups).save(run.predictions(split))
    stored, folder = stored_run(run, split, unit=asked.unit), _results_of(run, split, asked)
    if split == "test" and folder == run.path:
        keep_experience(run, stored.predictions, stored.context.population)
    return Evaluated(folder, write_results(folder, stored, pictures=asked.pictures))


def evaluate_table(
    path: Path, folder: Path, *, split: str | None = None, positive: str | None = None, asked: Asked = _AS_STORED
) -> Evaluated:
    """Numbers, figures and report of a table of predictions, from Chiron or elsewhere."""
    stored = stored_table(path, split=split, positive=positive, unit=asked.unit)
    if asked.subgroups:
        stored = replace(stored, predictions=_divided(stored.predictions, asked.subgroups))
    return Evaluated(folder, write_results(folder, stored, pictures=asked.pictures))


def _divided(predictions: Predictions, subgroups: tuple[str, ...]) -> Predictions:
    subgroup_columns(predictions.frame.columns, {}, subgroups)  # each must be there
    return predictions.with_facts(subgroups=list(subgroups))
