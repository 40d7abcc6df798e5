"""`chiron report`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Force, Json, NoImages, Quiet, say, say_json, start_logging


def report_command(
    target: Annotated[Path, typer.Argument(help="A run folder or a predictions CSV.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file; default RUN/report.html, of a CSV ./report.html.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="val, cal, test, external; default the one evaluated last.")
    ] = None,
    positive: Annotated[str | None, typer.Option("--positive", help="Class of interest in a two-class CSV.")] = None,
    shareable: Annotated[
        bool, typer.Option("--shareable", help="Leave out images, names, paths and counts under 5.")
    ] = False,
    no_images: NoImages = False,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report again from what is stored: nothing is scored, and the test ledger stays as it is."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.report import report

    done = report(
        target, out=out, split=split, positive=positive, shareable=shareable, pictures=not no_images, force=force
    )
    if as_json:
        limits = [{"rule": limit.rule, "sentence": limit.sentence} for limit in done.limits]
        say_json({"report": str(done.path), "split": done.split, "shareable": shareable, "limits": limits})
        return
    say(f"report: {done.path}")
