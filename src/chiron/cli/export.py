"""`chiron export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from chiron.cli.options import Debug, Force, Json, Quiet, Threads, say, say_json, start_logging


def export_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    to: Annotated[Literal["onnx", "openvino", "torch"], typer.Option("--to", help="The form to write.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File or folder; default by format, e.g. ./model.onnx.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16", "int8"],
        typer.Option("--precision", help="Below fp32 (OpenVINO) real images decide whether it is good enough."),
    ] = "fp32",
    data: Annotated[
        Path | None, typer.Option("--data", help="Images with labels for that; default the run's val split.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a bundle for other runtimes, proven to say the same; exit code 1 where it does not."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.export import export, told_export

    done = export(bundle, to=to, out=out, precision=precision, data=data, force=force, threads=threads)
    if as_json:
        say_json({"path": str(done.path), **done.spec.model_dump(mode="json", exclude={"bundle"})})
        return
    for line in told_export(done):
        say(line)
