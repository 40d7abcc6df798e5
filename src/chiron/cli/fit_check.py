"""`chiron fit-check`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Device, Json, Quiet, Threads, say, say_json, start_logging


def fit_check_command(
    run: Annotated[Path, typer.Argument(help="The run folder of a training.")],
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Tell over- and underfitting by train and val images scored alike; writes fit_check.png, .svg and .txt."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.fit_check import fit_check, fit_text

    done = fit_check(run, device=device, threads=threads)
    if as_json:
        say_json(done)
        return
    say(fit_text(done).rstrip())
    say(f"figure: {done['files']['png']}")
