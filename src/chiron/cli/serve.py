"""`chiron serve`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Device, Quiet, Threads, say, start_logging
from chiron.spec.provenance import DISCLAIMER


def serve_command(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, run folders or exported models; one or more.")],
    host: Annotated[str, typer.Option("--host", help="One that others can reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the token; or set CHIRON_TOKEN.")
    ] = None,
    without_token: Annotated[
        bool, typer.Option("--without-token", help="Let everybody in who can reach the address.")
    ] = False,
    proxied_as: Annotated[
        str | None, typer.Option("--proxied-as", metavar="NAME", help="Public name of a proxy on this machine.")
    ] = None,
    audit_trail: Annotated[
        Path | None,
        typer.Option("--audit-trail", metavar="FILE", help="Add a line for each output to a JSONL file."),
    ] = None,
    max_mib: Annotated[int, typer.Option("--max-mib", min=1, help="Size of a request, MiB.")] = 32,
    max_megapixels: Annotated[int, typer.Option("--max-megapixels", min=1, max=178, help="Of an image.")] = 40,
    max_images: Annotated[int, typer.Option("--max-images", min=1, help="Of a request.")] = 16,
    rate: Annotated[int, typer.Option("--rate", min=1, help="Requests a minute of one client.")] = 600,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="For an upload, and again for an answer.")] = 30,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve bundles to programs and, with a page, to people. No image is kept. Ctrl-C stops it."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.serve.limits import Limits
    from chiron.workflows.serve import serve

    def ready(address: str) -> None:
        say(f"Chiron serves at {address} (Ctrl-C stops it)")
        say(DISCLAIMER)

    limits = Limits(
        max_bytes=max_mib << 20,
        max_pixels=max_megapixels * 1_000_000,
        max_images=max_images,
        requests_per_minute=rate,
        seconds=seconds,
        max_held_bytes=max(8 * max_mib, 256) << 20,
    )
    serve(
        bundles,
        host=host,
        port=port,
        limits=limits,
        token_file=token_file,
        without_token=without_token,
        proxied_as=proxied_as,
        audit_trail=audit_trail,
        device=device,
        threads=threads,
        ready=ready,
    )
