"""`chiron models`, `chiron models list | stages | audit`."""

from typing import Annotated, Any

import typer

from chiron.cli.options import Debug, Json, say, say_json, say_table

app = typer.Typer(
    help="List models, their stages, or audit the sizes that sources claim. Alone: Chiron's families.",
    rich_markup_mode=None,
)
Pattern = Annotated[str, typer.Argument(help="Part of a name, or a pattern such as '*vit_tiny*'.")]


@app.callback(invoke_without_command=True)
def models_command(context: typer.Context) -> None:
    """Without a command, the names of Chiron's families."""
    if context.invoked_subcommand is None:
        list_command("chiron_*")


@app.command("list")
def list_command(
    pattern: Pattern = "chiron_*",
    details: Annotated[
        bool, typer.Option("--details", help="Build each one: parameters, input size. Slow for many.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List models: Chiron's, or with a pattern any of timm's."""
    from chiron.workflows.models import describe_models, find_models

    names = find_models(pattern)
    if details:
        say_json(describe_models(names))
    elif as_json:
        say_json(names)
    else:
        for name in names:
            say(name)


@app.command("stages")
def stages_command(
    name: Annotated[str, typer.Argument(help="Name of a model.")], as_json: Json = False, debug: Debug = False
) -> None:
    """The stages of a model in order from the image: what train.freeze can name."""
    from chiron.workflows.models import model_stages

    rows = model_stages(name)
    if as_json:
        say_json(rows)
        return
    cells = ([row["name"], f"{row['num_parameters']:,}", ", ".join(row["prefixes"])] for row in rows)
    say_table(["stage", "parameters", "in"], cells)


@app.command("audit")
def audit_command(pattern: Pattern = "*", as_json: Json = False, debug: Debug = False) -> None:
    """Count parameters beside what the sources claim.

    A row is a claim of a README, a paper or code, or that there is none; all of them take about a minute.
    """
    from chiron.workflows.models import audit_models

    rows = audit_models(pattern)
    if as_json:
        say_json(rows)
        return
    header = ["model", "reading", "classes", "px", "quantity", "counted", "claimed", "by", "verdict", "GMACs"]
    say_table([*header, "init", "license of weights"], (_cells(row) for row in rows))
    notes = {f"{row['model']}: {row['note']}": None for row in rows if row["note"]}
    if notes:
        say("")
    for note in notes:
        say(note)


def _cells(row: dict[str, Any]) -> list[Any]:
    settings = {"head": row["head"], **row["args"]}
    name = " ".join([row["model"], *(f"{key}={value}" for key, value in settings.items() if value is not None)])
    counted = f"{row['counted']:,}" if isinstance(row["counted"], int) else row["counted"]
    inits = [option["init"] for option in row["init_options"]]
    licenses = [option["license"] or "not told" for option in row["init_options"] if option["weights"]]
    cells = [name, row["reading"], row["num_classes"], row["img_size"], row["quantity"], counted]
    cells += [row["claimed"] or "-", row["where"], row["verdict"], f"{row['num_macs'] / 1e9:.2f}"]
    return [*cells, ", ".join(inits), ", ".join(licenses) or "-"]
