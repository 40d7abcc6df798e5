"""Whether stored images keep all bits of the files."""

import numpy as np
import polars as pl

from chiron.core.errors import PreprocessError
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.spec.input_spec import InputSpec


def depth_warning(manifest: Manifest, spec: InputSpec) -> str | None:
    """A sentence where the first readable file has more bits a channel than `spec.bit_depth` keeps; else None."""
    paths = manifest.frame.filter(pl.col("status") == "ok")["path"]
    if spec.bit_depth != 8 or not len(paths):
        return None
    try:
        image = ImageSource(manifest.root).decode(paths[0], min_side=spec.decode_min_side)
    except PreprocessError:  # told where all images are read
        return None
    if image.dtype == np.uint8:
        return None
    return "files have more than 8 bits a channel and are stored with 8; input.bit_depth: 16 keeps them"
