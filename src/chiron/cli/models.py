"""`chiron models`."""

from typing import Annotated

import typer

from chiron.cli.options import Debug, Json, say, say_json


def models_command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as '*vit_tiny*'.")] = "chiron_*",
    details: Annotated[
        bool, typer.Option("--details", help="Build each one: parameters, input size. Slow for many.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List models: Chiron's families by default; any timm model with a pattern."""
    from chiron.workflows.models import describe_models, find_models

    names = find_models(pattern)
    if details:
        say_json(describe_models(names))
    elif as_json:
        say_json(names)
    else:
        for name in names:
            say(name)
