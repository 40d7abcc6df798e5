"""`chiron recipes list | show`."""

from typing import Annotated

import typer

from chiron.cli.options import Debug, Json, say, say_json, say_table

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
