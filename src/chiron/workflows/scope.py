"""The out-of-scope score of a bundle: from training images and those that calibration is fitted on, or else val."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from chiron.data.dataset import to_tensor
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.models.scope import ScopeDistance, fit_scope_distance
from chiron.preprocess.finish import Finish
from chiron.preprocess.looks import Looks, looks_of
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.input_spec import InputSpec
from chiron.spec.scope import GrayOrColor, ScopeSpec

MOST_IMAGES = 1000  # of training and of fitting images, evenly from each
_BATCH = 32


def fit_scope(
    manifest: Manifest, input_spec: InputSpec, fitted_on: Literal["cal", "val"], *, percent: float
) -> tuple[ScopeSpec, ScopeDistance]:
    """The layers that measure how unlike the training images a picture is, and what its numbers mean.

    Args:
        fitted_on: a split that was not trained on.
        percent: an image beyond the distance of so many percent of the fitting images is out of scope.
    """
    finish = Finish(input_spec)
    train, fitting = (_paths(manifest, split) for split in ("train", fitted_on))
    sizes = {"img_size": input_spec.img_size, "in_chans": input_spec.in_chans}
    distance = fit_scope_distance(_inputs(manifest, train, input_spec, finish), **sizes)
    looks: list[Looks] = []
    parts = [distance(batch) for batch in _inputs(manifest, fitting, input_spec, finish, looks.append)]
    distances = torch.cat(parts).double().numpy()
    detail = np.array([one.detail for one in looks])
    spec = ScopeSpec(
        quantiles=(tuple(np.quantile(distances, np.linspace(0, 1, 101)).tolist()),),
        limit_percent=percent,
        fitted_on=fitted_on,
        num_images=len(fitting),
        num_train_images=len(train),
        least_side_px=min(one.side_px for one in looks),
        least_detail=float(min(np.quantile(detail, 0.005), np.median(detail) / 4)),
        colors=_colors(looks, input_spec),
    )
    return spec, distance


def _paths(manifest: Manifest, split: str) -> list[str]:
    usable = manifest.select(split).frame.filter(pl.col("status") == "ok")["path"].to_list()
    return [usable[place] for place in np.linspace(0, len(usable) - 1, min(MOST_IMAGES, len(usable))).astype(int)]


def _inputs(
    manifest: Manifest,
    paths: list[str],
    spec: InputSpec,
    finish: Finish,
    look: Callable[[Looks], None] = lambda looks: None,
) -> Iterator[Tensor]:
    """The images as a network is given them, in batches; `look` is told the looks of each."""
    source = ImageSource(manifest.root)

    def read(path: str) -> tuple[StoredImage, Looks]:
        pixels = source.decode(path, min_side=spec.decode_min_side)
        return canonical_resize(pixels, spec), looks_of(pixels)

    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(paths), _BATCH):
            stored = []
            for image, looks in pool.map(read, paths[start : start + _BATCH]):
                stored.append(to_tensor(image))
                look(looks)
            yield finish(torch.stack(stored))[0]


def _colors(looks: list[Looks], spec: InputSpec) -> GrayOrColor:
    kinds = {one.is_color for one in looks}
    if spec.in_chans == 1 or len(kinds) > 1:
        return "both"
    return "color" if kinds.pop() else "gray"
