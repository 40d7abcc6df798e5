"""Are the images still those that a manifest was written for? Asked before a run is resumed or scored."""

import os
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from chiron.core.errors import DataError
from chiron.core.hashing import sha256_bytes
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource


def require_unchanged(manifest: Manifest) -> None:
    """Compares the bytes of every readable image with the manifest's; takes no decoding.

    Raises:
        DataError: an image is missing or has other bytes.
    """
    source = ImageSource(manifest.root)
    rows = manifest.frame.filter(pl.col("status") == "ok", pl.col("bytes_sha256").is_not_null())

    def is_same(row: tuple[str, str]) -> bool:
        return sha256_bytes(source.read_bytes(row[0])) == row[1]

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        same = list(pool.map(is_same, rows.select("path", "bytes_sha256").iter_rows()))
    changed = rows.filter(~pl.Series(same, dtype=pl.Boolean))["path"]
    if len(changed):
        raise DataError(
            f"Images must be those that the run was started with. Got {len(changed):,} with other content in "
            f"{manifest.root}: {', '.join(changed.head(5))}. Put them back, or start a new run."
        )
