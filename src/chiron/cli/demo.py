"""`chiron demo`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.evaluate import shown
from chiron.cli.options import Debug, Device, Force, Json, Quiet, Threads, say, say_json, start_logging


def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("chiron-demo"),
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw phantom radiographs, train a hybrid and a small CNN, evaluate, predict, report. Needs no data."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.demo import demo

    done = demo(out, seed=seed, device=device, threads=threads, force=force)
    if as_json:
        say_json(done)
        return
    for model in done["models"]:
        say(f"{model['name']:<24} test AUROC {shown(model['auroc'])}  {model['params']:,} parameters")
    say(f"report: {done['report']}")
    say("Synthetic images; research use only. Not a medical device.")
