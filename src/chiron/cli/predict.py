"""`chiron predict`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Device, Force, Json, Quiet, Threads, say, say_json, say_table, start_logging
from chiron.core.errors import EXIT_USER_MISTAKE
from chiron.spec.provenance import DISCLAIMER


def predict_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, zips.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write a CSV file instead of printing.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict images: the class, its probability, and all probabilities. Exit code 2 when a file was unreadable."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.predict import predict

    rows = predict(bundle, paths, out=out, force=force, device=device, threads=threads, batch_size=batch_size)
    failed = sum(bool(row.problem) for row in rows)
    if as_json:
        say_json(
            [
                {"path": row.name, **(row.prediction.to_dict() if row.prediction else {"problem": row.problem})}
                for row in rows
            ]
        )
    elif out is None:
        say_table(
            ["image", "model output", "probability"],
            [
                (row.name, row.prediction.predicted_class, f"{row.prediction.confidence:.4f}")
                if row.prediction
                else (row.name, "unreadable", "")
                for row in rows
            ],
        )
        say(DISCLAIMER)
    else:
        say(f"{len(rows) - failed} of {len(rows)} images predicted: {out}")
    if failed:
        raise typer.Exit(EXIT_USER_MISTAKE)
