"""`chiron recipes list | show | copy`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Force, Json, say, say_json, say_table

app = typer.Typer(help="Packaged recipes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_command(as_json: Json = False, debug: Debug = False) -> None:
    """List the packaged recipes."""
    from chiron.spec.library import packaged_recipes
    from chiron.spec.reading import read_recipe

    rows = [(name, read_recipe(name).about) for name in packaged_recipes()]
    if as_json:
        say_json([{"name": name, "about": about} for name, about in rows])
    else:
        say_table(["recipe", "about"], rows)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="A packaged name or a YAML file.")], debug: Debug = False
) -> None:
    """Print a recipe as it is written, to start one's own from it."""
    from chiron.spec.library import find_recipe

    say(find_recipe(name)[1].rstrip())


@app.command("copy")
def copy_command(
    name: Annotated[str, typer.Argument(help="A packaged name or a YAML file.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file; default ./<model>.<reading>.yaml.")] = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Write a recipe, with its comments, as a file to edit."""
    from chiron.core.files import require_new, write_text
    from chiron.spec.library import find_recipe

    source, text = find_recipe(name)
    file = out if out is not None else Path(f"{Path(source).name.removesuffix('.yaml')}.yaml")
    require_new(file, force=force)
    write_text(file, text)
    say(f"written: {file}")
    say(f"next:    chiron check {shlex.quote(str(file))}")
