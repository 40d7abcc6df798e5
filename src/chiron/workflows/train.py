"""`chiron train`: from a recipe and images to a run folder with a bundle, predictions and a report."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chiron.audit.ledger import project_folder
from chiron.core.errors import SpecError
from chiron.core.files import write_text
from chiron.data.cache import CACHE_FOLDER, CachedImages, cache_images
from chiron.data.manifest import Manifest
from chiron.engine.checkpoint import stored_setting
from chiron.engine.fit import fit
from chiron.engine.memory import peak_of
from chiron.engine.processes import World
from chiron.engine.runtime import Runtime, start_runtime
from chiron.spec.labels import LabelSpace
from chiron.spec.layout import Layout
from chiron.spec.recipe import Recipe
from chiron.workflows.calibrate import decide_run, told_decision
from chiron.workflows.check import check_recipe
from chiron.workflows.cross_fit import cross_fit
from chiron.workflows.data import label_space
from chiron.workflows.decision import splits_needed, unfitted_decision, where_to_fit
from chiron.workflows.evaluate import evaluate_run, score_run
from chiron.workflows.make_bundle import data_counts, make_bundle
from chiron.workflows.overfit import note_overfit
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.sanity import refuse_sanity_run
from chiron.workflows.start_run import read_run, reopen_run, start_run

log = logging.getLogger("chiron.train")
_RECOGNIZED = Layout()


def train(
    recipe: str,
    data: str | Path | None,
    out: str | Path,
    *,
    overrides: tuple[str, ...] = (),
    layout: Layout = _RECOGNIZED,
    score_test: bool = False,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    threads: int | None = None,
    cache: bool | Path = True,
) -> RunFolder:
    """Trains, selects on val, and writes everything to the run folder `out`.

    Args:
        recipe: file or packaged name; with `resume` the run's own recipe is used.
        data: folder, zip, npz, table or manifest; with `resume` where the run found it.
        overrides: `key=value` changes of the recipe.
        layout: where images and metadata of a table lie; how to read them the recipe says.
        score_test: also score the test split, once; it enters the test ledger.
        cache: keep decoded images for further epochs and runs: in the project's folder, in a folder given, or not.

    With `train.overfit_images` in the recipe the run is an overfit check: it trains on so many images alone and leaves
    no bundle, predictions or report; `read_overfit` gives its result.

    Raises:
        ChironError: with one clear sentence; the run folder stays resumable.
    """
    folder, typed = Path(out), (None if data is None else Path(data), layout.images, layout.metadata)
    if resume:
        run, settings, manifest = reopen_run(folder, recipe, overrides, data, layout)
        if score_test:
            _require_result(folder, settings)
        kept = run.checkpoints if run.checkpoints.is_dir() else run.fold(0).checkpoints
        threads = threads or stored_setting(kept).get("threads")
        runtime = _runtime(settings, device, threads)
        if run.read_facts().get("status") == "finished":
            return _already_finished(run, runtime, typed, score_test=score_test, device=device, threads=threads)
    else:
        if data is None:
            raise SpecError("A training needs images. Got no --data. Give a folder, zip, npz, table or manifest.")
        checked = check_recipe(recipe, overrides)
        if score_test:
            _require_result(folder, checked)
        runtime = _runtime(checked, device, threads)
        made = runtime.world.by_main(partial(start_run, checked, Path(data), folder, layout, runtime, force=force))
        run, settings, manifest = made or read_run(folder)
    labels, world = label_space(settings, manifest), runtime.world
    _tell_data(manifest)

    cached = world.main_first(lambda: _cached(settings, manifest, run.path, cache))
    if settings.train.overfit_images is None and where_to_fit(settings, manifest) == "cross_fit":
        cross_fit(run, settings, manifest, labels, runtime, cached)
        world.by_main(lambda: _tell_memory(run, runtime))
    else:
        _fit_once(run, settings, manifest, labels, runtime, cached)
        if settings.train.overfit_images is not None:
            return run
        _decide(run, settings, manifest, world, device=device, threads=threads)
    for split in ("val", "test") if score_test else ("val",):
        if world.any(world.is_main and not run.is_scored(split)):
            score_run(run, split, device=device, threads=threads, hide=typed)
    world.by_main(lambda: _finish(run, "test" if score_test else "val"))
    return run


def _fit_once(
    run: RunFolder,
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    runtime: Runtime,
    cached: CachedImages | None,
) -> None:
    """One network: its bundle, or the result of an overfit check."""
    world, is_check = runtime.world, recipe.train.overfit_images is not None

    def keep_history(history: list[dict[str, Any]]) -> None:
        if world.is_main:
            write_text(run.history, json.dumps(history, indent=1))

    fitted = fit(
        recipe,
        manifest,
        labels,
        checkpoints=None if is_check else run.checkpoints,
        runtime=runtime,
        on_epoch=keep_history,
        cached=cached,
        logs=run.logs,
    )
    world.by_main(lambda: _tell_memory(run, runtime))
    if is_check:
        world.by_main(lambda: note_overfit(run, fitted, recipe))
        return
    decision = unfitted_decision(recipe.decision)
    world.by_main(lambda: make_bundle(run, recipe, manifest, labels, [fitted], runtime.alone(), decision))


def _decide(
    run: RunFolder, recipe: Recipe, manifest: Manifest, world: World, *, device: str, threads: int | None
) -> None:
    """Fits what the recipe asks for on images that training has not seen, and keeps it in the bundle."""
    fitted_on = where_to_fit(recipe, manifest)
    needed = splits_needed(recipe.decision, fitted_on)
    if fitted_on == "none" and not needed:
        return
    for split in needed:
        score_run(run, split, device=device, threads=threads)
    if done := world.by_main(lambda: decide_run(run, recipe, manifest)):
        for line in told_decision(done.decision):
            log.info("%s", line)


def _finish(run: RunFolder, split: str) -> None:
    evaluate_run(run, split=split)
    run.write_facts(status="finished")


def _require_result(folder: Path, settings: Recipe) -> None:
    """Stops where the test split would be scored by what is no result.

    Raises:
        SpecError: the recipe is that of a check.
    """
    if settings.train.overfit_images is not None:
        raise SpecError("An overfit check has no bundle to score. Got --score-test as well. Leave one of them out.")
    refuse_sanity_run(folder, settings, "test")


def _tell_memory(run: RunFolder, runtime: Runtime) -> None:
    """The most memory that the training took, over all its parts when it was resumed; workers are not counted."""
    peak = peak_of(runtime.device)
    if peak is not None:
        peak = max(peak, run.read_facts().get("peak_memory_bytes", 0))
        run.write_facts(peak_memory_bytes=peak)
        log.info("memory: %.1f GB at most%s", peak / 1e9, " on the GPU" if runtime.device.type == "cuda" else "")


def _already_finished(
    run: RunFolder,
    runtime: Runtime,
    typed: Sequence[Path | None],
    *,
    score_test: bool,
    device: str,
    threads: int | None,
) -> RunFolder:
    """Nothing is trained twice; a test split that was not asked for before can still be scored."""
    log.info("this run is finished")
    world = runtime.world
    if world.any(world.is_main and score_test and not run.is_scored("test")):
        score_run(run, "test", device=device, threads=threads, hide=typed)
    if world.any(world.is_main and score_test and run.read_metrics()["split"] != "test"):  # also after a kill
        world.by_main(lambda: evaluate_run(run, split="test"))
    return run


def _cached(recipe: Recipe, manifest: Manifest, out: Path, cache: bool | Path) -> CachedImages | None:
    """The decoded images of all splits, so that the runs of other folds find them too."""
    if cache is False or recipe.train.overfit_images is not None:
        return None
    return cache_images(manifest, recipe.input, project_folder(out) / CACHE_FOLDER if cache is True else cache)


def _runtime(recipe: Recipe, device: str, threads: int | None) -> Runtime:
    train = recipe.train
    return start_runtime(
        device=device, num_workers=train.num_workers, threads=threads, deterministic=train.deterministic
    )


def _tell_data(manifest: Manifest) -> None:
    for split, count in data_counts(manifest).items():
        log.info("%s: %d images in %d groups", split, count["images"], count["groups"])
