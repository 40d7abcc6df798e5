"""`chiron compare`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chiron.cli.options import Debug, Force, Json, Quiet, say, say_json, say_table, start_logging


def compare_command(
    targets: Annotated[
        list[str],
        typer.Argument(help="Run folders, folders of evaluate, or CSVs, also NAME=PATH; with --methods NAME='RUNS*'."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="accuracy, macro_auroc, auroc:CLASS...; may be repeated. Default the AUROC."),
    ] = None,
    methods: Annotated[
        bool, typer.Option("--methods", help="Training methods: the runs of a NAME are its seeds or folds.")
    ] = False,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Compare the others with this one; default the first.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="A difference that does not matter, declared beforehand.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="McNemar's exact test in place of mid-p.")] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the cases that all hold, where they hold different ones.")
    ] = False,
    unit: Annotated[
        Literal["image", "unit", "patient"] | None,
        typer.Option("--unit", help="What a case is; default what the models' own decisions say."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of runs: val, cal, test, external.")] = None,
    positive: Annotated[str | None, typer.Option("--positive", help="Class of interest in two-class CSVs.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for numbers, table and forest plot.")] = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare models on the same cases, or training methods over seeds or folds: intervals, tests, words."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.compare import Settings, compare

    settings = Settings(metrics=tuple(metric or ()), reference=reference, margin=margin, exact=exact, unit=unit)
    made = compare(
        targets,
        methods=methods,
        settings=settings,
        split=split,
        positive=positive,
        common=common,
        out=out,
        force=force,
    )
    if as_json:
        say_json(made)
        return
    say_comparison(made)
    if out is not None:
        say(f"written: {out}")


def say_comparison(numbers: dict[str, Any]) -> None:
    """The question, the table and the words."""
    from chiron.report.comparison_table import HEADER, cases_line, comparison_rows, words_of

    say(f"{numbers['split']}: {numbers['question']}" if numbers["split"] else numbers["question"])
    say(cases_line(numbers))
    say_table(list(HEADER), comparison_rows(numbers))
    for sentence in words_of(numbers):
        say(sentence)
