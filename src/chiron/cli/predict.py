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
from chiron.spec.decision import Tta
from chiron.spec.provenance import DISCLAIMER

if TYPE_CHECKING:
    from chiron.predictor import Row, UnitRow


def predict_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, zips.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a table instead of printing: *.csv, *.jsonl, *.parquet.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the table at --out.")] = False,
    by: Annotated[
        str | None, typer.Option("--by", help="One row a unit: a column of --table, or folder for one a folder.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Table of image names and their units.")] = None,
    others: Annotated[
        list[Path] | None, typer.Option("--with", metavar="BUNDLE", help="Answer with another bundle; may be repeated.")
    ] = None,
    tta: Annotated[
        Tta, typer.Option("--tta", help="Average over views: hflip, the mirror image; dihedral, all 8 of a square.")
    ] = "none",
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="With --json or *.jsonl: the most probable classes.")
    ] = None,
    insist: Annotated[
        bool, typer.Option("--insist", help="Print outputs for images that are out of the bundle's scope too.")
    ] = False,
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
    from chiron.workflows.predict import predict_stream, predict_units

    how: dict[str, Any] = {"out": out, "force": force, "device": device, "threads": threads, "others": others or ()}
    how |= {"batch_size": batch_size, "privacy": privacy, "tta": tta, "top_k": top_k}
    if resume and (out is None or by is not None):
        raise SpecError(
            f"--resume goes on with a table of images. Got {'no --out' if out is None else '--by'}. Leave it out."
        )
    if by is not None:
        units = predict_units(bundle, paths, by=by, table=table, **how)
        _say_units(units, out, as_json=as_json, top_k=top_k, insist=insist)
        return
    if table is not None:
        raise SpecError("A table says which unit an image is of. Got --table without --by. Add --by COLUMN.")
    stream = predict_stream(bundle, paths, resume=resume, **how)
    if out is not None and not as_json:
        outside = sum(_is_outside(row) for row in stream)  # written as they come, and not held
        told = f", {outside} of them out of scope" if outside and not resume else ""  # rows from before are not read
        say(f"{stream.num_done - stream.num_failed} of {stream.num_done} images predicted{told}: {out}")
    else:
        rows = list(stream)
        if as_json:
            say_json([_as_json(row, "path", top_k) for row in rows])
        else:
            _say_rows(rows, insist=insist)
            say(DISCLAIMER)
    if stream.num_failed:
        raise typer.Exit(EXIT_USER_MISTAKE)


def _say_units(units: "list[UnitRow]", out: Path | None, *, as_json: bool, top_k: int | None, insist: bool) -> None:
    """One row a unit, and below it those of its images."""
    images = [row for unit in units for row in unit.images]
    failed = sum(bool(row.problem) for row in images)
    if as_json:
        say_json(
            [
                _as_json(unit, "unit", top_k) | {"images": [_as_json(row, "path", top_k) for row in unit.images]}
                for unit in units
            ]
        )
    elif out is None:
        listed: list[Row | UnitRow] = []
        for unit in units:
            listed += [unit, *unit.images]
        _say_rows(listed, insist=insist)
        say(DISCLAIMER)
    else:
        done = sum(unit.prediction is not None for unit in units)
        say(f"{done} of {len(units)} units predicted from {len(images) - failed} of {len(images)} images: {out}")
    if failed:
        raise typer.Exit(EXIT_USER_MISTAKE)


def _is_outside(row: "Row | UnitRow") -> bool:
    return row.prediction is not None and row.prediction.scope is not None and not row.prediction.scope.in_scope


def _as_json(row: "Row | UnitRow", called: str, top_k: int | None) -> dict[str, Any]:
    said = row.prediction
    if said is None:
        return {called: row.name, "problem": row.problem}
    return {called: row.name, **said.to_dict(top_k=top_k), "experience": list(row.experience)}


def _say_rows(rows: "Sequence[Row | UnitRow]", *, insist: bool) -> None:
    """The class named and its probability; where an image can have several classes, the probability of each.

    Answers to clinical questions follow, and why a person must decide. Of an image that is out of scope nothing else is
    told but on request. The images of a unit are indented below it. Below the table: how often test cases with such
    outputs were right, each sentence once.
    """
    first = next(row.prediction for row in rows if row.prediction)
    if first.predicted_class is None:
        header = ["image", *first.probabilities]
    else:
        header = ["image", "model output", "probability"]
    header += [*first.decisions, "a person must decide"]
    has_units = any(hasattr(row, "images") for row in rows)
    shown: list[tuple[str, ...]] = []
    for row in rows:
        said = row.prediction
        name = f"  {row.name}" if has_units and not hasattr(row, "images") else row.name
        if said is None:
            shown.append((name, "unreadable", *[""] * (len(header) - 2)))
            continue
        reasons = " ".join(said.referral.reasons)
        if _is_outside(row) and not insist:
            shown.append((name, "out of scope", *[""] * (len(header) - 3), reasons))
            continue
        answers = [*[f"{it.answer} ({it.score:.4f})" for it in said.decisions.values()], reasons]
        if said.predicted_class is None or said.confidence is None:
            shown.append((name, *[f"{p:.4f}" for p in said.probabilities.values()], *answers))
        else:
            shown.append((name, said.predicted_class, f"{said.confidence:.4f}", *answers))
    say_table(header, shown)
    told = [entry for row in rows for entry in row.experience]
    for place in dict.fromkeys(entry["population"] for entry in told):
        say(f"How often such outputs were right ({place}):")
        for words in dict.fromkeys(entry["words"] for entry in told if entry["population"] == place):
            say(f"  {words}")
