"""`chiron serve`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Device, Quiet, Threads, say, start_logging
from chiron.spec.provenance import DISCLAIMER


def serve_command(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, run folders or exported models; one or more.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; another than this machine's needs a token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8000,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve bundles to programs and, with a page, to people. Nothing that is sent is kept. Ctrl-C stops it."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.serve import serve

    def ready(address: str) -> None:
        say(f"Chiron serves at {address} (Ctrl-C stops it)")
        say(DISCLAIMER)

    serve(bundles, host=host, port=port, device=device, threads=threads, ready=ready)
