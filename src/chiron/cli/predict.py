"""`chiron predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from chiron.predictor import Row, UnitRow


def predict_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, zips.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write a CSV file instead of printing.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="One row a unit: a column of --table, or folder for one a folder.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Table of image names and their units.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
    privacy: Privacy = "auto",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict images: the class and its probability, or of several classes all. Exit code 2 with an unreadable file."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.predict import predict, predict_units

    how: dict[str, Any] = {"out": out, "force": force, "device": device, "threads": threads}
    how |= {"batch_size": batch_size, "privacy": privacy}
    if by is not None:
        _say_units(predict_units(bundle, paths, by=by, table=table, **how), out, as_json=as_json)
        return
    if table is not None:
        raise SpecError("A table says which unit an image is of. Got --table without --by. Add --by COLUMN.")
    rows = predict(bundle, paths, **how)
    failed = sum(bool(row.problem) for row in rows)
    if as_json:
        say_json([_as_json(row, "path") for row in rows])
    elif out is None:
        _say_rows(rows)
        say(DISCLAIMER)
    else:
        say(f"{len(rows) - failed} of {len(rows)} images predicted: {out}")
    if failed:
        raise typer.Exit(EXIT_USER_MISTAKE)


def _say_units(units: "list[UnitRow]", out: Path | None, *, as_json: bool) -> None:
    """One row a unit, and below it those of its images."""
    images = [row for unit in units for row in unit.images]
    failed = sum(bool(row.problem) for row in images)
    if as_json:
        say_json(
            [_as_json(unit, "unit") | {"images": [_as_json(row, "path") for row in unit.images]} for unit in units]
        )
    elif out is None:
        listed: list[Row | UnitRow] = []
        for unit in units:
            listed += [unit, *unit.images]
        _say_rows(listed)
        say(DISCLAIMER)
    else:
        done = sum(unit.prediction is not None for unit in units)
        say(f"{done} of {len(units)} units predicted from {len(images) - failed} of {len(images)} images: {out}")
    if failed:
        raise typer.Exit(EXIT_USER_MISTAKE)


def _as_json(row: "Row | UnitRow", called: str) -> dict[str, Any]:
    return {called: row.name, **(row.prediction.to_dict() if row.prediction else {"problem": row.problem})}


def _say_rows(rows: "Sequence[Row | UnitRow]") -> None:
    """The class named and its probability; where an image can have several classes, the probability of each.

    Answers to clinical questions follow. The images of a unit are indented below it.
    """
    first = next(row.prediction for row in rows if row.prediction)
    if first.predicted_class is None:
        header = ["image", *first.probabilities]
    else:
        header = ["image", "model output", "probability"]
    header += list(first.decisions)
    has_units = any(hasattr(row, "images") for row in rows)
    shown: list[tuple[str, ...]] = []
    for row in rows:
        said = row.prediction
        name = f"  {row.name}" if has_units and not hasattr(row, "images") else row.name
        if said is None:
            shown.append((name, "unreadable", *[""] * (len(header) - 2)))
            continue
        answers = [f"{it.answer} ({it.score:.4f})" for it in said.decisions.values()]
        if said.predicted_class is None or said.confidence is None:
            shown.append((name, *[f"{p:.4f}" for p in said.probabilities.values()], *answers))
        else:
            shown.append((name, said.predicted_class, f"{said.confidence:.4f}", *answers))
    say_table(header, shown)
