"""`chiron calibrate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from chiron.cli.options import Debug, Device, Json, Quiet, Threads, say, say_json, start_logging


def calibrate_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    on: Annotated[
        Literal["cal", "val"] | None,
        typer.Option("--on", help="Split to fit on; default as in the recipe. val is told as optimistic."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the decision, e.g. decision.sensitivity=0.9; may be repeated."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit calibration, thresholds and prediction sets of a run again, without training; its bundle gets a new id."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.calibrate import calibrate, told_decision

    done = calibrate(run, on=on, overrides=tuple(change or ()), device=device, threads=threads)
    if as_json:
        decision = done.decision.model_dump(mode="json")
        say_json({"bundle": str(done.bundle), "former_id": done.former_id, "id": done.bundle_id, "decision": decision})
        return
    for line in told_decision(done.decision):
        say(line)
    if done.bundle_id == done.former_id:
        say(f"bundle: {done.bundle} ({done.bundle_id}, as before)")
    else:
        say(f"bundle: {done.bundle} ({done.bundle_id}, before {done.former_id})")
