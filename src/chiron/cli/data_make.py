"""`chiron data make`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Force, Quiet, say, start_logging


def make_command(
    kind: Annotated[str, typer.Argument(help="phantom-cxr or phantom-derm")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    count: Annotated[int, typer.Option("--count", min=2, help="Number of images.")] = 2000,
    img_size: Annotated[int, typer.Option("--img-size", min=28, max=2048, help="Side in pixels.")] = 96,
    difficulty: Annotated[float, typer.Option("--difficulty", min=0, max=1)] = 0.5,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="manifest, class_folders, csv, medmnist, roboflow; chests: dicom, kermany, and with "
            "several findings chexpert, nih; skin: ham10000, isic2019.",
        ),
    ] = "manifest",
    shortcut: Annotated[
        str | None, typer.Option("--shortcut", help="Plant a mark of the class: corner_marker, ruler or tone.")
    ] = None,
    shortcut_strength: Annotated[
        float, typer.Option("--shortcut-strength", min=0, max=1, help="How often the mark follows the class.")
    ] = 1.0,
    label_noise: Annotated[
        float, typer.Option("--label-noise", min=0, max=1, help="Share of lesions or patients with a wrong label.")
    ] = 0.0,
    tone_error: Annotated[
        float, typer.Option("--tone-error", min=0, max=1, help="How far findings fade in dark skin or exposures.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw synthetic images with their whole truth, in the layout of a real data set."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.data.phantoms.planted import Planted
    from chiron.workflows.phantoms import make_phantoms

    make_phantoms(
        kind,
        out,
        num_images=count,
        img_size=img_size,
        difficulty=difficulty,
        layout=layout,
        seed=seed,
        planted=Planted(shortcut, shortcut_strength, label_noise, tone_error),
        force=force,
    )
    say(f"{count} images: {out}")
