"""`chiron sweep`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from chiron.cli.options import Debug, Device, Json, Quiet, Threads, say, say_json, say_table, start_logging
from chiron.core.errors import EXIT_COULD_NOT_FINISH


def sweep_command(
    file: Annotated[Path, typer.Argument(help="The sweep: a YAML file with recipe, grid or search.")],
    data: Annotated[Path, typer.Option("--data", help="Folder, zip, npz, table or manifest.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs; the same again continues.")],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Trials of a search in all.")] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Work through Ray.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train folds, seeds or a search as independent runs, and compare them on val. Several processes may share OUT."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.sweep import sweep

    done = sweep(file, data, out, trials=trials, ray=ray, device=device, threads=threads)
    if as_json:
        say_json(done)
    else:
        _say(done, out)
    if not any(run["status"] == "finished" for run in done["runs"]):
        raise typer.Exit(EXIT_COULD_NOT_FINISH)


def _say(done: dict[str, Any], out: Path) -> None:
    metric = f"val {done['metric']}"
    say_table(["run", "status", f"{metric} (interval)", "epoch"], [_cells(run) for run in done["runs"]])
    for run in done["runs"]:
        if run["status"] == "failed":
            say(f"{run['run']}: {run['why']}")
    for row in done["settings"]:
        if row["mean"] is not None and len(row["runs"]) > 1:
            say(
                f"{_words(row['settings']) or 'all runs'}: mean {metric} {row['mean']:.3f} of {len(row['runs'])} runs, "
                f"{row['lowest']:.3f} to {row['highest']:.3f}"
            )
    if done["best"] is not None:
        say(f"best: {_words(done['best']['settings'])} ({metric} {done['best']['mean']:.3f})")
    say(done["note"])
    say(f"tables: {out / 'sweep.csv'}, {out / 'sweep.json'}")


def _cells(run: dict[str, Any]) -> tuple[Any, ...]:
    value = "-"
    if run["value"] is not None:
        reach = "no interval" if run["low"] is None else f"{run['low']:.3f}-{run['high']:.3f}"
        value = f"{run['value']:.3f} ({reach})"
    return (run["run"], run["status"], value, run["best_epoch"])


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
