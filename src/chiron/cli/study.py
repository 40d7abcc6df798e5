"""`chiron study`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chiron.cli.options import Debug, Device, Json, Quiet, Threads, say, say_json, say_table, start_logging
from chiron.core.errors import EXIT_COULD_NOT_FINISH


def study_command(
    plan: Annotated[
        str,
        typer.Argument(help="The plan, a YAML file: question, data, metric, arms, seeds, budget. Or a packaged name."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for runs and tables.")] = Path("study"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Where the images lie, if not where the plan says.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change every model's recipe; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the study in OUT.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train models x seeds x folds by one plan, score test once, write tables. Several processes may share OUT."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.study import study

    done = study(plan, out, data=data, changes=tuple(change or ()), resume=resume, device=device, threads=threads)
    if as_json:
        say_json(done)
    else:
        _say(done, out)
    if not any(run["status"] == "finished" for run in done["runs"]):
        raise typer.Exit(EXIT_COULD_NOT_FINISH)


def _say(done: dict[str, Any], out: Path) -> None:
    for run in done["runs"]:
        if run["status"] == "failed":
            say(f"{run['run']}: {run['why']}")
    if done["plan_entered"] is None:
        if done["is_check"]:
            say("all works as far as a check can tell: these trainings are no results, and test is not scored")
            return
        undone = [run["run"] for run in done["runs"] if run["status"] not in ("finished", "failed")]
        if undone:
            say(f"not done yet: {', '.join(undone)}; the test split is scored when all are")
        return
    from chiron.report.study_tables import comparison_words, table_cells, table_notes

    header, rows = table_cells(done)
    say_table(header, rows)
    for line in (*table_notes(done), *comparison_words(done["comparison"])):
        say(line)
    if done["exploratory_because"]:
        say(f"all results are exploratory: {done['exploratory_because']}")
    say(f"tables: {out / 'study.md'}, {out / 'table.csv'}, {out / 'table.tex'}")
