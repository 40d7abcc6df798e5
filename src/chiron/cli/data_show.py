"""`chiron data show`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import (
    Changes,
    Data,
    Debug,
    Force,
    Images,
    Metadata,
    Quiet,
    Reader,
    layout_of,
    say,
    start_logging,
)
from chiron.core.errors import SpecError


def show_command(
    path: Data,
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write; it holds the images.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Show what this recipe makes: a file or a packaged name.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Or an augmentation by name, at 224 pixels; e.g. derm, cxr_safe.")
    ] = None,
    changes: Changes = None,
    count: Annotated[int, typer.Option("--count", min=1, max=100, help="Images, of every class in turn.")] = 8,
    draws: Annotated[int, typer.Option("--draws", min=1, max=50, help="Augmented draws of each.")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of images and of the draws.")] = 0,
    masks: Annotated[
        bool, typer.Option("--masks", help="Outline the lungs of chest radiographs, as found without training.")
    ] = False,
    reader: Reader = None,
    images: Images = None,
    metadata: Metadata = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a contact sheet: images as stored, as finished for evaluation, and augmented for training."""
    start_logging(quiet=quiet, debug=debug)
    if out.suffix.lower() != ".png":
        raise SpecError(f"A contact sheet must be a .png file. Got {out}. Change --out.")
    from chiron.workflows.show import show_data, show_recipe

    shown = show_data(
        path,
        out,
        show_recipe(recipe, preset, changes or ()),
        layout=layout_of(reader, None, None, images, metadata),
        count=count,
        draws=draws,
        seed=seed,
        masks=masks,
        force=force,
    )
    if shown.num_lungs_found is not None:
        say(f"lungs found in {shown.num_lungs_found} of {shown.num_images} images, two boxes in the others")
    say(f"{shown.num_images} images, {draws} draws each: {out}")
