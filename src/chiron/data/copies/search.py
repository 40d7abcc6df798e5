"""Searching a data set for copies: every different picture once, in an order that the rows do not decide."""

import polars as pl

from chiron.core.hashing import sha256_json
from chiron.data.copies.find import METHOD, find_copies
from chiron.data.copies.pairs import CopyPair, sorted_pairs
from chiron.data.identity import Identified
from chiron.data.source import ImageSource

LEAST_SIDE_PX = 64  # smaller pictures carry too little to tell a copy from a look-alike


def search_copies(source: ImageSource, identified: Identified) -> tuple[CopyPair, ...]:
    """All pairs of readable images that are, or may be, copies of one another.

    Of images with identical pixels, which hashes have found, only the one with the smallest sample_id is searched.
    Images with a side under 64 px are left out: they carry too little to tell a copy from a look-alike.
    """
    large_enough = pl.Series(identified.sides >= LEAST_SIDE_PX)
    frame = identified.frame.with_row_index("_row").filter((pl.col("status") == "ok") & large_enough)
    first = frame.sort("sample_id").unique("pixels_sha256", keep="first", maintain_order=True)
    if first.height < 2:
        return ()
    rows, paths = first["_row"].to_list(), first["path"].to_list()
    return sorted_pairs(
        find_copies(first["sample_id"].to_list(), identified.thumbnails[rows], lambda k: source.decode(paths[k]))
    )


def searched_digest(frame: pl.DataFrame) -> str:
    """Names the pictures that a search looked at and how it looked, so that it is repeated only when one changes."""
    return sha256_json([METHOD, frame["pixels_sha256"].drop_nulls().unique().sort().to_list()])
