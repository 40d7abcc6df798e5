"""`chiron bundle show | verify | card | pack | push | pull`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Force, Json, Quiet, say, say_json, say_table, start_logging
from chiron.core.errors import EXIT_CHECK_FAILED

app = typer.Typer(help="Look at bundles, check them, hand them on.", no_args_is_help=True, rich_markup_mode=None)

Bundle = Annotated[Path, typer.Argument(help="A bundle, a run folder, a packed bundle, or an exported form.")]
Own = Annotated[Path, typer.Argument(help="A bundle, a run folder or a packed bundle.")]
Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A repository of the Hugging Face Hub.")]
License = Annotated[str, typer.Option("--license", help="Of the bundle, by the Hub's name, e.g. cc-by-4.0.")]


@app.command("show")
def show_command(bundle: Bundle, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """What a bundle is for, and what it was made of."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bundle import describe_bundle

    found = describe_bundle(bundle)
    if as_json:
        say_json(found.to_dict())
        return
    for line in found.lines():
        say(line)


@app.command("verify")
def verify_command(bundle: Bundle, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check that a bundle is whole, holds no code and answers; exit code 1 where not."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bundle import verify_bundle

    checks = verify_bundle(bundle)
    if as_json:
        say_json([{"check": check.name, "holds": not check.problem, "problem": check.problem} for check in checks])
    else:
        say_table(["check", "found"], [(check.name, check.problem or "holds") for check in checks])
    if any(check.problem for check in checks):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command("card")
def card_command(
    bundle: Own,
    license: License = "unknown",
    write: Annotated[bool, typer.Option("--write", help="Put it into the bundle, in place of the former.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the model card, made anew from the bundle's facts."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bundle import write_card

    say(write_card(bundle, license=license, write=write))


@app.command("pack")
def pack_command(
    bundle: Own,
    out: Annotated[Path, typer.Option("--out", help="The zip.")],
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put a bundle into one file, which is used as the folder is."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bundle import pack_bundle

    say(f"packed: {pack_bundle(bundle, out, force=force)}")


@app.command("push")
def push_command(
    bundle: Own,
    repository: Repository,
    license: License = "unknown",
    public: Annotated[bool, typer.Option("--public", help="A new repository can be seen by everybody.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Upload a bundle to the Hugging Face Hub; the token is read from the environment (HF_TOKEN)."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.hub import push_bundle

    say(f"pushed: {push_bundle(bundle, repository, license=license, public=public)}")


@app.command("pull")
def pull_command(
    repository: Repository,
    out: Annotated[Path, typer.Option("--out", help="The folder of the bundle.")],
    revision: Annotated[str, typer.Option("--revision", help="Branch, tag or commit.")] = "main",
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a bundle from the Hugging Face Hub and check it."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.hub import pull_bundle

    folder, identity = pull_bundle(repository, out, revision=revision, force=force)
    if as_json:
        say_json({"bundle": str(folder), "bundle_id": identity})
    else:
        say(f"pulled: {folder} ({identity})")
