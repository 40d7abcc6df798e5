"""`chiron explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiron.cli.options import (
    Debug,
    Device,
    Force,
    Json,
    Privacy,
    Quiet,
    Threads,
    say,
    say_json,
    say_table,
    start_logging,
)
from chiron.core.errors import EXIT_USER_MISTAKE, SpecError
from chiron.spec.provenance import DISCLAIMER

if TYPE_CHECKING:
    from chiron.workflows.explain import ExplainedImages


def explain_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, zips.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for maps, pictures, scores and the page.")],
    method: Annotated[str, typer.Option("--method", help="An explainer; auto: the best for this network.")] = "auto",
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Explain this class; default the most probable.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Folder or zip of findings, named as the images; 0 is none.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="What makes a unit, for intervals: a column of --table, or folder.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Table of image names and their units.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of noise that explainers and scores draw.")] = 0,
    privacy: Privacy = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show where the model reacted, not where disease is: a map an image, with scores and a verdict on the explainer.

    Exit code 2 where an image has no map.
    """
    start_logging(quiet=quiet, debug=debug)
    if table is not None and by is None:
        raise SpecError("A table says which unit an image is of. Got --table without --by. Add --by COLUMN.")
    from chiron.workflows.explain import explain_images

    done = explain_images(
        bundle,
        paths,
        out,
        method=method,
        class_name=class_name,
        masks=masks,
        by=by,
        table=table,
        privacy=privacy,
        batch_size=batch_size,
        seed=seed,
        device=device,
        threads=threads,
        force=force,
    )
    if as_json:
        say_json(done.facts)
    else:
        _say(done)
    if any("problem" in row for row in done.facts["images"]):
        raise typer.Exit(EXIT_USER_MISTAKE)


def _say(done: "ExplainedImages") -> None:
    """The verdict with its reasons, the mean of each score, and where all of it lies."""
    facts = done.facts
    say(f"{facts['title']} ({facts['method']}) is {facts['verdict']['words']} ({facts['model']})")
    for reason in facts["verdict"]["reasons"]:
        say(f"  {reason}")
    rows = [(it["title"], f"{it['better']} is better", _shown(it)) for it in facts["scores"].values()]
    rows += [
        (f"Hits above {name}", "higher is better", _shown(own["pointing"]))
        for name, own in facts["above_controls"].items()
    ]
    say_table(["score", "", "mean (interval)"], rows)
    num_maps = sum("problem" not in row for row in facts["images"])
    say(f"{num_maps} of {len(facts['images'])} images explained: {done.page}")
    say(f"{facts['notice']} {DISCLAIMER}")


def _shown(estimate: dict) -> str:
    if estimate["value"] is None:
        return f"not defined: {estimate['note']}"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f} (no interval: {estimate['note'] or estimate['method']})"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
