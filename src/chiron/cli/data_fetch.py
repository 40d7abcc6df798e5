"""`chiron data fetch url | medmnist | roboflow`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chiron.cli.options import Debug, Force, Json, Quiet, say, say_json, start_logging
from chiron.core.errors import SpecError

app = typer.Typer(
    help="Download a data set: resumed, checked, its origin noted in OUT/fetched.json.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Out = Annotated[Path, typer.Option("--out", help="Folder to download into.")]
MaxGb = Annotated[float, typer.Option("--max-gb", min=0, help="Refuse a larger file.")]


@app.command("url")
def url_command(
    url: Annotated[str, typer.Argument(help="https or http address of the file.", metavar="URL")],
    out: Out,
    sha256: Annotated[str | None, typer.Option("--sha256", metavar="HEX", help="What the file must have.")] = None,
    md5: Annotated[str | None, typer.Option("--md5", metavar="HEX", help="What the file must have.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the file; default from the address.")] = None,
    unpack: Annotated[
        bool | None,
        typer.Option("--unpack/--no-unpack", help="Default: unpack a tar, keep a zip, which is read in place."),
    ] = None,
    max_gb: MaxGb = 100.0,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a file from any address."""
    start_logging(quiet=quiet, debug=debug)
    if sha256 and md5:
        raise SpecError("One checksum is enough. Got --sha256 and --md5. Leave out --md5.")
    from chiron.workflows.fetch import fetch_url

    checksum = f"sha256:{sha256}" if sha256 else f"md5:{md5}" if md5 else None
    fetched = fetch_url(
        url, out, checksum=checksum, name=name, unpacked=unpack, max_bytes=int(max_gb * 1e9), force=force
    )
    _say_fetched(fetched, as_json=as_json)


@app.command("medmnist")
def medmnist_command(
    name: Annotated[str, typer.Argument(help="For example pneumoniamnist.", metavar="NAME")],
    out: Out,
    size: Annotated[int, typer.Option("--size", help="Side in pixels: 28, 64, 128 or 224.")] = 28,
    max_gb: MaxGb = 100.0,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a data set of MedMNIST, held to its published checksum."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.fetch import fetch_medmnist

    fetched = fetch_medmnist(name, out, img_size=size, max_bytes=int(max_gb * 1e9), force=force)
    _say_fetched(fetched, as_json=as_json)


@app.command("roboflow")
def roboflow_command(
    version: Annotated[
        str, typer.Argument(help="For example hi-l9ueo/ich-s-7lnsj/1.", metavar="WORKSPACE/PROJECT/VERSION")
    ],
    out: Out,
    export_format: Annotated[str, typer.Option("--format", help="Chiron reads folder.")] = "folder",
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack the zip, which is else read in place.")] = False,
    max_gb: MaxGb = 100.0,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a version from Roboflow. The key comes from the environment: ROBOFLOW_API_KEY."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.fetch import fetch_roboflow

    fetched = fetch_roboflow(
        version, out, export_format=export_format, unpacked=unpack, max_bytes=int(max_gb * 1e9), force=force
    )
    _say_fetched(fetched, as_json=as_json)


def _say_fetched(fetched: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(fetched)
        return
    say(f"{fetched['source']}: {fetched['num_bytes']:,} bytes")
    checked = fetched["verified"]
    say(f"sha256 {fetched['sha256']}" + (f" (checked by {checked.partition(':')[0]})" if checked else " (not checked)"))
    if fetched["license"]:
        say(f"license: {fetched['license']}")
    say(f"data: {fetched['path']}")
