"""Cache: the canonical images of a data set, decoded once, in one memory-mapped file that all processes share.

A cache is keyed by the bytes of its images and by the part of the InputSpec that makes stored images of them, so that
runs, folds and resumed runs of the same data find the same one, and no other data can. It holds images of patients: it
lies in the project's folder, which is made for its owner alone, and is removed with `chiron data cache`.
"""

import errno
import json
import logging
import os
import platform
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import polars as pl

from chiron.core.errors import DataError
from chiron.core.files import output_error
from chiron.core.hashing import sha256_bytes, sha256_json
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.input_spec import InputSpec

log = logging.getLogger("chiron.data")
CACHE_FOLDER = ".chiron_cache"  # hidden, so that it is never read as data
_FORMAT = 1
_IMAGES, _INDEX, _UNFINISHED = "images.npy", "index.json", ".unfinished-"
_AT_ONCE = 64
_ABANDONED_SECONDS = 24 * 3600


class CachedImages:
    """Stored images by path, read from one memory-mapped file; picklable, safe to use from several processes.

    Every image is compared with its checksum the first time a process reads it.

    Args:
        folder: of the cache.
        rows: where the image of a path stands in the file.
    """

    def __init__(self, folder: Path, rows: Mapping[str, int]) -> None:
        self.folder, self.rows = folder, dict(rows)
        self._pixels: np.ndarray | None = None
        self._unchecked: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "rows": self.rows}  # the mapping of memory stays in its process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def read(self, path: str) -> StoredImage:
        """The stored image of `path`; read-only.

        Raises:
            DataError: the cache is damaged.
        """
        if self._pixels is None:
            self._pixels = _open_pixels(self.folder)
            self._unchecked = dict(enumerate(_read_index(self.folder)["crc32"]))
        row = self.rows[path]
        image = np.asarray(self._pixels[row])
        expected = self._unchecked.pop(row, None)
        if expected is not None and _checksum(image) != expected:
            raise _damaged(self.folder)
        return image


@dataclass(frozen=True)
class CacheEntry:
    """One cache on disk."""

    folder: Path
    num_images: int
    num_bytes: int
    last_used: float  # seconds since 1970

    @property
    def idle_days(self) -> float:
        """Days since a training used it."""
        return (time.time() - self.last_used) / 86400


def cache_images(manifest: Manifest, spec: InputSpec, cache: Path) -> CachedImages | None:
    """The cached images of all readable rows of `manifest`, made now where `cache` does not hold them yet.

    None, with a line in the log, where the disk has no room for them.

    Raises:
        DataError: an image is not the one that the manifest was written for, or the cache is damaged.
        OutputError: the cache cannot be written.
    """
    readable = manifest.frame.filter(pl.col("status") == "ok", pl.col("bytes_sha256").is_not_null())
    path_of = dict(zip(readable["bytes_sha256"], readable["path"], strict=True))  # equal files stand there once
    digests = sorted(path_of)
    shape, dtype = _layout(spec, len(digests))
    folder = cache / _key(spec, digests)
    if not (folder / _INDEX).is_file():
        _remove_unfinished(cache)
        need = int(np.prod(shape)) * dtype.itemsize
        if not _has_room(cache, need):
            log.warning("not cached: %s needs %s, which the disk has not", cache, _size(need))
            return None
        log.info("caching %s decoded images (%s) in %s; --no-cache leaves it out", f"{shape[0]:,}", _size(need), cache)
        _write(folder, ImageSource(manifest.root), [(digest, path_of[digest]) for digest in digests], spec)
    with suppress(OSError):  # a cache that another user made may be read, not touched
        os.utime(folder / _INDEX)  # last used
    index = _read_index(folder)
    found = _open_pixels(folder)
    if found.shape != shape or found.dtype != dtype or index["content_sha256"] != digests:
        raise _damaged(folder)
    row_of = {digest: row for row, digest in enumerate(digests)}
    pairs = readable.select("path", "bytes_sha256").iter_rows()
    return CachedImages(folder, {path: row_of[digest] for path, digest in pairs})


def list_caches(cache: Path) -> list[CacheEntry]:
    """All finished caches in the folder `cache`, the one used last first; of a damaged one 0 images are told."""
    entries = []
    for folder in sorted(cache.iterdir()) if cache.is_dir() else []:
        if (folder / _INDEX).is_file() and (folder / _IMAGES).is_file():
            sizes = sum(file.stat().st_size for file in folder.iterdir())
            try:
                num_images = len(_read_index(folder)["crc32"])
            except DataError:
                num_images = 0
            entries.append(CacheEntry(folder, num_images, sizes, (folder / _INDEX).stat().st_mtime))
    return sorted(entries, key=lambda entry: -entry.last_used)


def is_whole(entry: CacheEntry) -> bool:
    """Whether every image still has the checksum of the day it was written."""
    try:
        expected = _read_index(entry.folder)["crc32"]
        pixels = _open_pixels(entry.folder)
    except DataError:
        return False
    return len(pixels) == len(expected) and all(map(lambda image, crc: _checksum(image) == crc, pixels, expected))


def prune_caches(cache: Path, *, idle_days: float) -> list[CacheEntry]:
    """Removes the caches that no training has used for so many days, and those that were never finished."""
    _remove_unfinished(cache)
    removed = [entry for entry in list_caches(cache) if entry.idle_days >= idle_days]
    for entry in removed:
        shutil.rmtree(entry.folder)
    return removed


def _key(spec: InputSpec, digests: Sequence[str]) -> str:
    """The name of a cache; Pillow's version is in it because Pillow resizes, OpenCV's because it finds masks."""
    made_by = [
        *(spec.decode, spec.stored_size, spec.in_chans, spec.bit_depth, spec.resize, spec.interpolation),
        PIL.__version__,
        *([] if spec.mask == "none" else [spec.mask, cv2.__version__]),
    ]
    return sha256_json([_FORMAT, made_by, list(digests)])[:24]


def _layout(spec: InputSpec, num_images: int) -> tuple[tuple[int, int, int, int], np.dtype]:
    """Shape and type of the file."""
    shape = (num_images, spec.stored_size, spec.stored_size, spec.stored_chans)
    return shape, np.dtype(np.uint8 if spec.bit_depth == 8 else np.uint16)


def _write(folder: Path, source: ImageSource, wanted: Sequence[tuple[str, str]], spec: InputSpec) -> None:
    """Writes a cache under a temporary name; where another process was faster, its cache stays."""
    temporary = folder.with_name(f"{_UNFINISHED}{_this_host()}-{os.getpid()}-{secrets.token_hex(8)}")
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.mkdir()
        shape, dtype = _layout(spec, len(wanted))
        pixels = np.lib.format.open_memmap(temporary / _IMAGES, mode="w+", dtype=dtype, shape=shape)
        checksums = []
        for row, image in enumerate(_stored_images(source, wanted, spec)):
            pixels[row] = image
            checksums.append(_checksum(image))
        pixels.flush()
        del pixels
        index = {"format": _FORMAT, "content_sha256": [digest for digest, _ in wanted], "crc32": checksums}
        (temporary / _INDEX).write_text(json.dumps(index), encoding="ascii")
        try:
            os.rename(temporary, folder)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.EACCES} or not (folder / _INDEX).is_file():
                raise
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stored_images(source: ImageSource, wanted: Sequence[tuple[str, str]], spec: InputSpec) -> Iterator[StoredImage]:
    def store(one: tuple[str, str]) -> StoredImage:
        digest, path = one
        data = source.read_bytes(path)
        if sha256_bytes(data) != digest:
            raise DataError(
                f"Images must be those that the manifest was written for. Got another content in {path}. "
                "Put it back, or read the data set again."
            )
        return canonical_resize(source.decode(path, data=data, min_side=spec.decode_min_side), spec)

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(wanted), _AT_ONCE):  # so that no more than a few decoded images wait in memory
            yield from pool.map(store, wanted[start : start + _AT_ONCE])


def _checksum(image: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)


def _open_pixels(folder: Path) -> np.ndarray:
    try:
        return np.load(folder / _IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # missing, cut off, empty
        raise _damaged(folder) from error


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise _damaged(folder) from error
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise _damaged(folder)
    return index


def _damaged(folder: Path) -> DataError:
    return DataError(
        f"A cache of decoded images must be whole. Got a damaged one: {folder}. Remove that folder; it is made again."
    )


def _remove_unfinished(cache: Path) -> None:
    """Removes what processes left that were killed while they wrote."""
    for folder in cache.glob(f"{_UNFINISHED}*") if cache.is_dir() else []:
        host, _, rest = folder.name.removeprefix(_UNFINISHED).partition("-")
        process = rest.partition("-")[0]
        is_dead = host == _this_host() and process.isdecimal() and not _is_alive(int(process))
        with suppress(OSError):  # another process removed it, or may not let us
            if is_dead or time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _this_host() -> str:
    """Where numbers of processes mean the same: this machine, or the container on it."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        numbers = ""
    return sha256_bytes(f"{platform.node()} {numbers}".encode())[:12]


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where this question would be a Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _has_room(cache: Path, need: int) -> bool:
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(place).free > need * 1.05 + (64 << 20)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
