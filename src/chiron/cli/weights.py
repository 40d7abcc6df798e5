"""`chiron weights import`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Force, Json, say, say_json
from chiron.core.printable import printable

app = typer.Typer(help="Weights made elsewhere.", no_args_is_help=True, rich_markup_mode=None)
_NUM_NAMES = 5


@app.callback()
def weights() -> None:
    """Weights made elsewhere."""


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A .pth, .pt, .tar, .bin or .safetensors file; no code is executed.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The model, as `chiron models` lists it.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file; default ./NAME.safetensors.")] = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", min=1, help="Classes of the network; default the file's.")
    ] = None,
    head: Annotated[str | None, typer.Option("--head", help="Another head, as model.head of a recipe.")] = None,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the average of the weights, where the file has one.")
    ] = False,
    leave_out_classifier: Annotated[
        bool, typer.Option("--leave-out-classifier", help="Take a file of other classes without its classifier.")
    ] = False,
    as_json: Json = False,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Make a checkpoint of another program into a file for model.weights; tell what fits and what does not."""
    from chiron.workflows.weights import import_weights

    done = import_weights(
        file,
        name,
        out,
        num_classes=num_classes,
        head=head,
        averaged=ema,
        leave_out_classifier=leave_out_classifier,
        force=force,
    )
    if as_json:
        told = {"file": str(done.path), **done.facts.model_dump(mode="json"), "num_classes": done.num_classes}
        told |= {key: getattr(done, key) for key in ("matched", "missing", "unexpected", "left_out", "notes")}
        say_json(told)
        return
    say(
        f"{printable(done.facts.source)} read as {done.facts.kind}, from {done.facts.taken}; {done.num_classes} classes"
    )
    say(_line("matched", done.matched))
    say(_line("missing", done.missing, "stay as the model draws them"))
    say(_line("unexpected", done.unexpected, "left out"))
    if done.left_out:
        say(_line("classifier", done.left_out, "left out as asked"))
    for note in done.notes:
        say(f"note: {note}")
    say(f"file: {done.path}")
    say(f"train with: --set model.name={name} --set model.init=imported --set model.weights={done.path}")


def _line(what: str, names: Sequence[str], fate: str = "") -> str:
    """`missing: 2 tensors, stay as the model draws them (fc.weight, fc.bias)`."""
    if not names:
        return f"{what}: none"
    shown = ", ".join(printable(name[:90]) for name in names[:_NUM_NAMES]) + (
        ", ..." if len(names) > _NUM_NAMES else ""
    )
    return f"{what}: {len(names)} tensors{', ' + fate if fate else ''} ({shown})"
