"""`chiron data show`: what a network is given. Stored images, the same finished, and some of their augmented draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from chiron.core.errors import DataError, SpecError
from chiron.core.files import require_new, require_outside, write_bytes
from chiron.core.hashing import seed_of
from chiron.data.augment.apply import augment
from chiron.data.augment.draw import Draw, draw_augmentation
from chiron.data.augment.warp import warp_mask, warp_of
from chiron.data.dataset import StoredImages, to_tensor
from chiron.data.manifest import Manifest
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.preprocess.finish import Finish
from chiron.preprocess.lung_mask import lung_mask
from chiron.preprocess.resize import StoredImage
from chiron.report.contact_sheet import SheetRow, contact_sheet
from chiron.spec.input_spec import InputSpec
from chiron.spec.layout import Layout
from chiron.spec.recipe import Recipe
from chiron.workflows.check import check_recipe

_RECOGNIZED = Layout()
_PLAIN = (
    "general/h_coatnet_nano.own"  # with --preset alone: any recipe does, as its input and augmentation are replaced
)


@dataclass(frozen=True)
class Shown:
    """What a sheet holds: how many images, and of how many the lungs were found (None without masks)."""

    num_images: int
    num_lungs_found: int | None


def show_recipe(recipe: str | None, preset: str | None, changes: Sequence[str] = ()) -> Recipe:
    """The recipe that images are shown by.

    Args:
        recipe: file or packaged name.
        preset: an augmentation by name instead, at 224 pixels; `changes` apply to either.
    Raises:
        SpecError: both or none of them are given, or one is wrong.
    """
    if (recipe is None) == (preset is None):
        both = "both" if recipe else "neither"
        raise SpecError(f"One of --recipe and --preset must be given. Got {both}. For example --preset derm.")
    if recipe is not None:
        return check_recipe(recipe, tuple(changes))
    replaced = (f"augment={{preset: {preset}}}", "input={img_size: 224, canonical_size: 256}")
    return check_recipe(_PLAIN, (*replaced, *changes))


def show_data(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    layout: Layout = _RECOGNIZED,
    count: int = 8,
    draws: int = 6,
    seed: int = 0,
    masks: bool = False,
    force: bool = False,
) -> Shown:
    """Writes a contact sheet of `count` images, of every class in turn, as a PNG.

    Args:
        draws: augmented images a row.
        masks: draw the outline of the lungs, moved along: the mask that the network is given, or, where its input has
            none, what `lung_mask` finds on the stored image.
    Raises:
        DataError: no image can be read.
    """
    require_new(out, force=force)
    require_outside(out, data)
    manifest = read_dataset(data, layout, conflicts="note")
    chosen = _choose(manifest, count, seed)
    source = StoredImages(ImageSource(manifest.root), [path for _, path, _ in chosen], recipe.input)
    rows, found = [], 0
    for place, (sample_id, path, label) in enumerate(chosen):
        stored = source.stored(place)
        own = [
            draw_augmentation(recipe.augment, seed_of("augment", seed, epoch, sample_id, 0)) for epoch in range(draws)
        ]
        augmented = [augment(stored, draw, recipe.input) for draw in own]
        tiles = [stored, _finished(stored, recipe.input), *augmented]
        outlines: list[np.ndarray] = []
        if masks:
            is_given = recipe.input.mask == "lung"
            decoded = source.source.decode(path, min_side=recipe.input.decode_min_side) if is_given else stored
            lungs = lung_mask(decoded)
            found += not lungs.is_fallback
            label += " (two boxes)" if lungs.is_fallback else ""
            if is_given:
                outlines = [(stored[..., -1] > 0).astype(np.uint8)]
                outlines += [_given_mask(pixels, recipe.input) for pixels in (stored, *augmented)]
            else:
                outlines = [lungs.mask, *(_moved(lungs.mask, draw, recipe.input) for draw in (Draw(), *own))]
        rows.append(SheetRow(label, tuple(_visible(tile, recipe.input) for tile in tiles), tuple(outlines)))
    write_bytes(out, contact_sheet(rows, ["stored", "finished", *(f"draw {k + 1}" for k in range(draws))]))
    return Shown(len(rows), found if masks else None)


def _choose(manifest: Manifest, count: int, seed: int) -> list[tuple[str, str, str]]:
    """(sample_id, path, label) of `count` readable images, one of each label in turn, chosen by name and seed."""
    readable = manifest.frame.filter(pl.col("status") == "ok")
    if not readable.height:
        raise DataError(f"A sheet needs an image that can be read. Got none in {manifest.root}. Check the path.")
    names = [_label(row, manifest) for row in readable.iter_rows(named=True)]
    samples = list(zip(readable["sample_id"], readable["path"], names, strict=True))
    turns = []
    for name in sorted(set(names)):
        own = sorted((s for s in samples if s[2] == name), key=lambda sample: seed_of("show", seed, sample[0]))
        turns += [(turn, sample) for turn, sample in enumerate(own)]
    return [sample for _, sample in sorted(turns, key=lambda item: (item[0], item[1][2]))[:count]]


def _label(row: dict, manifest: Manifest) -> str:
    if not manifest.is_multi_label:
        return row["label"] or "unknown"
    present = zip(manifest.classes, manifest.label_columns, strict=True)
    return " + ".join(name for name, column in present if row[column] == 1) or "none"


def _finished(stored: StoredImage, spec: InputSpec) -> np.ndarray:
    """What `finish` makes, before it is normalized, in the stored value range."""
    finish = Finish(spec)
    values = (finish(to_tensor(stored)[None])[0] - finish.shift) / finish.scale
    return values[0].permute(1, 2, 0).numpy()


def _given_mask(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The mask of 0 and 1 that `finish` hands to the network."""
    return Finish(spec)(to_tensor(pixels)[None])[1][0, 0].numpy().astype(np.uint8)


def _moved(mask: np.ndarray, draw: Draw, spec: InputSpec) -> np.ndarray:
    return warp_mask(mask, warp_of(draw, stored_size=spec.stored_size, img_size=spec.img_size), spec.img_size)


def _visible(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The picture in the stored range as uint8."""
    return np.clip(np.rint(pixels[..., : spec.in_chans] * np.float32(255 / spec.max_value)), 0, 255).astype(np.uint8)
