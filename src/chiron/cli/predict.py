"""`chiron predict`."""

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
from chiron.core.errors import EXIT_USER_MISTAKE
from chiron.spec.provenance import DISCLAIMER

if TYPE_CHECKING:
    from chiron.predictor import Row


def predict_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, zips.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write a CSV file instead of printing.")] = None,
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
    from chiron.workflows.predict import predict

    rows = predict(
        bundle,
        paths,
        out=out,
        force=force,
        device=device,
        threads=threads,
        batch_size=batch_size,
        privacy=privacy,
    )
    failed = sum(bool(row.problem) for row in rows)
    if as_json:
        say_json(
            [
                {"path": row.name, **(row.prediction.to_dict() if row.prediction else {"problem": row.problem})}
                for row in rows
            ]
        )
    elif out is None:
        _say_rows(rows)
        say(DISCLAIMER)
    else:
        say(f"{len(rows) - failed} of {len(rows)} images predicted: {out}")
    if failed:
        raise typer.Exit(EXIT_USER_MISTAKE)


def _say_rows(rows: "list[Row]") -> None:
    """The class named and its probability; where an image can have several classes, the probability of each."""
    first = next(row.prediction for row in rows if row.prediction)
    if first.predicted_class is None:
        header = ["image", *first.probabilities]
    else:
        header = ["image", "model output", "probability"]
    shown: list[tuple[str, ...]] = []
    for row in rows:
        said = row.prediction
        if said is None:
            shown.append((row.name, "unreadable", *[""] * (len(header) - 2)))
        elif said.predicted_class is None or said.confidence is None:
            shown.append((row.name, *[f"{p:.4f}" for p in said.probabilities.values()]))
        else:
            shown.append((row.name, said.predicted_class, f"{said.confidence:.4f}"))
    say_table(header, shown)
