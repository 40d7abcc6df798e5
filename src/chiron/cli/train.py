"""`chiron train`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiron.cli.evaluate import say_evaluation
from chiron.cli.options import (
    Changes,
    Debug,
    Device,
    Force,
    GroupBy,
    Images,
    Json,
    Labels,
    Metadata,
    Quiet,
    Threads,
    say,
    say_json,
    start_logging,
)
from chiron.core.errors import EXIT_CHECK_FAILED, SpecError
from chiron.spec.layout import Layout

if TYPE_CHECKING:
    from chiron.workflows.overfit import OverfitResult
    from chiron.workflows.run_folder import RunFolder


def train_command(
    recipe: Annotated[str, typer.Argument(help="A packaged name (chiron recipes list) or a YAML file.")] = "",
    data: Annotated[Path | None, typer.Option("--data", help="Folder, zip, npz, table or manifest.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.")] = Path("run"),
    change: Changes = None,
    labels: Labels = None,
    group_by: GroupBy = None,
    images: Images = None,
    metadata: Metadata = None,
    score_test: Annotated[
        bool, typer.Option("--score-test", help="Also score the test split; it enters the ledger.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out from its checkpoint.")] = False,
    overfit: Annotated[
        int | None,
        typer.Option("--overfit", min=2, help="Only check that N training images can be learned by heart."),
    ] = None,
    sanity_run: Annotated[
        int | None,
        typer.Option("--sanity-run", min=1, help="Only check that all works, to the report: one epoch of N steps."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for decoded images; by default .chiron_cache beside OUT.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep no decoded images; every epoch decodes the files again.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Short for --set train.seed=N.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a classifier and write a run folder: bundle, predictions, report."""
    start_logging(quiet=quiet, debug=debug)
    if cache is not None and no_cache:
        raise SpecError("Decoded images are kept in a folder or not at all. Got --cache and --no-cache. Leave one out.")
    from chiron.workflows.check import check_recipe

    short = {"train.overfit_images": overfit, "train.seed": seed, "data.group_by": group_by and json.dumps(group_by)}
    short |= {"data.labels": labels, "train.sanity_steps": sanity_run}
    changes = (*(change or ()), *(f"{key}={value}" for key, value in short.items() if value is not None))
    if not resume:
        if not recipe:
            raise SpecError("A training needs a recipe. Got none. `chiron recipes list` shows the packaged ones.")
        check_recipe(recipe, changes)  # mistakes are told before torch is loaded
    from chiron.workflows.overfit import read_overfit
    from chiron.workflows.train import train

    run = train(
        recipe,
        data,
        out,
        overrides=changes,
        layout=Layout(images=images, metadata=metadata),
        score_test=score_test,
        resume=resume,
        force=force,
        device=device,
        threads=threads,
        cache=cache or not no_cache,
    )
    if (result := read_overfit(run)) is not None:
        _say_overfit(run, result, as_json=as_json)
        return
    numbers, facts = run.read_metrics(), run.read_facts()
    sanity = {key: facts[key] for key in ("sanity_steps", "is_result") if key in facts}
    if as_json:
        say_json({"run": str(run.path), **sanity, "evaluation": numbers})
        return
    if sanity:
        say(f"sanity run passed: {sanity['sanity_steps']} steps of training; the numbers below are not a result")
    say_evaluation(numbers)
    say(f"run:    {run.path}")
    say(f"bundle: {run.bundle}")
    say(f"report: {run.path / 'report.html'}")


def _say_overfit(run: "RunFolder", result: "OverfitResult", *, as_json: bool) -> None:
    """The one line of an overfit check; exit code 1 when it is not passed."""
    if as_json:
        say_json({"run": str(run.path), "overfit": run.read_facts()["overfit"]})
    else:
        say(str(result))
    if not result.reached:
        if not as_json:
            say(
                "What to try: a larger or smaller --set train.lr, more --set train.epochs, less drop_rate or "
                "train.weight_decay; then look whether the images show at input.img_size what the labels say."
            )
        raise typer.Exit(EXIT_CHECK_FAILED)
