"""How a training begins or goes on: recipe, manifest and run folder, checked before any image costs time."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.classifier import build_network
from chiron.core.errors import SpecError
from chiron.core.files import require_new, require_outside, write_text
from chiron.data.depth import depth_warning
from chiron.data.manifest import Manifest, is_manifest
from chiron.data.private import is_private
from chiron.data.reading import image_root
from chiron.data.split_tables import save_splits
from chiron.data.unchanged import require_unchanged
from chiron.engine.auxiliary import require_outputs
from chiron.engine.epoch_log import require_loggers
from chiron.engine.memory import fitting_batch_size, use_grad_checkpointing
from chiron.engine.optimizers import make_optimizer
from chiron.engine.runtime import Runtime
from chiron.spec.bundle_spec import network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.layout import Layout
from chiron.spec.reading import read_recipe, recipe_yaml
from chiron.spec.recipe import Recipe
from chiron.spec.train_recipe import AUTO_BATCH
from chiron.workflows.check import check_recipe, recipe_warnings
from chiron.workflows.data import prepare
from chiron.workflows.decision import require_decision
from chiron.workflows.overfit import overfit_settings, pick_images, refuse_overfit_check
from chiron.workflows.privacy import as_kept_with_recipe, recipe_as_kept
from chiron.workflows.run_folder import RunFolder, is_run, new_run, open_run
from chiron.workflows.sanity import sanity_facts, sanity_settings
from chiron.workflows.weights import with_input_of_weights

log = logging.getLogger("chiron.train")


def start_run(
    recipe: Recipe, data: Path, folder: Path, layout: Layout, runtime: Runtime, *, force: bool
) -> tuple[RunFolder, Recipe, Manifest]:
    """A new run folder with recipe and manifest, from which every process can go on."""
    settings, notes = _settings(recipe)
    if is_run(folder) and not force:  # what cannot work is told before a large data set is read
        raise SpecError(
            f"The output must not exist yet. Got the run {folder}. Go on with it by --resume, choose another --out, or "
            "add --force to replace it."
        )
    require_new(folder, force=force)
    require_outside(folder, data)
    _require_network(settings)
    layout = replace(layout, id_key=partial(sharing_key, project_folder(folder)))
    manifest, labels = prepare(settings, data, layout)
    if settings.train.overfit_images is None:
        require_decision(settings, manifest, labels)
    lost = depth_warning(manifest, settings.input)
    for warning in [*recipe_warnings(settings), *notes, *([lost] if lost else [])]:
        log.warning("warning: %s", warning)
    if settings.train.overfit_images is not None:
        manifest = pick_images(manifest, settings.train.overfit_images, seed=settings.train.seed)
        settings = overfit_settings(settings)
        log.info("overfit check: constant rate; nothing that regularizes but weight decay and dropout; val is train")
    settings = _with_batch_size(settings, manifest, labels, runtime)
    manifest, settings = as_kept_with_recipe(manifest, settings, folder)
    hide = (data, layout.images, layout.metadata) if is_private(manifest) else ()
    run = new_run(folder, force=force, hide=hide)
    save_splits(manifest, run.path)
    run.write_facts(**sanity_facts(settings))
    write_text(run.recipe, recipe_yaml(settings))  # last: a folder with a recipe can be resumed
    return run, settings, manifest


def read_run(folder: Path) -> tuple[RunFolder, Recipe, Manifest]:
    """What another process has started."""
    run = open_run(folder)
    return run, read_recipe(str(run.recipe)), Manifest.load(run.path)


def reopen_run(
    folder: Path, recipe: str, overrides: tuple[str, ...], data: str | Path | None, layout: Layout
) -> tuple[RunFolder, Recipe, Manifest]:
    """A run with its own recipe and manifest; what is given again must be the same."""
    run = open_run(folder)
    kept = read_recipe(str(run.recipe))
    refuse_overfit_check(run.path, kept, to="resume")
    require_loggers(kept.train.loggers)
    manifest = Manifest.load(run.path)
    again = _asked_again(recipe_as_kept(check_recipe(recipe, overrides), manifest, folder), kept) if recipe else kept
    if again != kept or (overrides and not recipe):
        other = _first_difference(again.model_dump(), kept.model_dump()) or overrides[0].partition("=")[0]
        raise SpecError(
            f"A resumed run keeps its recipe. Got another one (first in {other}). Start a new run with another --out."
        )
    if data is not None and not is_manifest(Path(data)) and not is_private(manifest):
        # Images may have moved; their content decides.
        manifest = replace(manifest, root=image_root(Path(data), layout))
    require_unchanged(manifest)
    return run, kept, manifest


def _first_difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first key, with dots, whose values differ; empty where none does."""
    for key, value in one.items():
        if value != other.get(key):
            inner = other.get(key)
            deeper = _first_difference(value, inner) if isinstance(value, dict) and isinstance(inner, dict) else ""
            return f"{key}.{deeper}" if deeper else key
    return ""


def _asked_again(recipe: Recipe, kept: Recipe) -> Recipe:
    """A recipe that is given with --resume as the run would keep it; `batch_size: auto` is what it came to before."""
    settings, _ = _settings(recipe)
    if settings.train.batch_size != AUTO_BATCH:
        return settings
    train = settings.train.model_copy(update={"batch_size": kept.train.batch_size})
    return settings.model_copy(update={"train": train})


def _settings(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe as it is trained by, and what a user may not expect of it.

    Raises:
        SpecError: a logger's package is not installed.
    """
    settings, notes = with_input_of_weights(recipe)
    require_loggers(settings.train.loggers)
    if settings.train.sanity_steps is not None:
        settings = sanity_settings(settings)
    return settings, notes


def _require_network(recipe: Recipe) -> None:
    """Builds the network and its optimizer once, for two classes, and lets them go.

    Raises:
        ModelError: its arguments, input or first weights are none that it takes, or its weights cannot be had.
        SpecError: a stage that is to be frozen is none of it, the optimizer does not take its arguments, or the
            network has not what the auxiliary losses or `train.grad_checkpointing` need.
    """
    model, two = recipe.model, LabelSpace(names=("0", "1"), positive="1")
    network = build_network(
        network_of(model), recipe.input, two, init=model.init, weights=model.weights, seed=recipe.train.seed
    )
    require_outputs(recipe.train, network)
    make_optimizer(recipe.train, network)
    if recipe.train.grad_checkpointing:
        use_grad_checkpointing(network, model.name)


def _with_batch_size(recipe: Recipe, manifest: Manifest, labels: LabelSpace, runtime: Runtime) -> Recipe:
    """The recipe with a number in place of `batch_size: auto`.

    Raises:
        EngineError: not even two images fit in memory.
    """
    train = recipe.train
    if train.batch_size != AUTO_BATCH:
        return recipe
    size = fitting_batch_size(recipe, labels, runtime, num_images=manifest.select("train").frame.height)
    log.info("batch size: %d", size)
    return recipe.model_copy(update={"train": train.model_copy(update={"batch_size": size})})
