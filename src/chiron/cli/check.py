"""`chiron check`."""

from typing import Annotated

import typer

from chiron.cli.options import Changes, Debug, Json, say, say_json


def check_command(
    recipe: Annotated[str, typer.Argument(help="A packaged name or a YAML file.")],
    change: Changes = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a recipe: every mistake at once, with its line. Loads neither torch nor timm."""
    from chiron.workflows.check import check_recipe, recipe_warnings

    checked = check_recipe(recipe, tuple(change or ()))
    if as_json:
        say_json(checked.model_dump(mode="json"))
        return
    for warning in recipe_warnings(checked):
        say(f"{recipe}: warning: {warning}")
    say(f"{recipe}: right. {checked.model.name}, {checked.input.img_size} px, {checked.train.epochs} epochs")
