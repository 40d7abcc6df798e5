"""`chiron data cache`: what decoded images a project keeps, whether they are whole, and how they are removed."""

from dataclasses import dataclass
from pathlib import Path

from chiron.core.errors import DataError
from chiron.data.cache import CACHE_FOLDER, CacheEntry, is_whole, list_caches, prune_caches


@dataclass(frozen=True)
class CacheState:
    """The caches of a project, and what was found or done."""

    kept: list[CacheEntry]
    removed: list[CacheEntry]
    damaged: list[CacheEntry]  # empty unless verified


def look_at_cache(place: Path, *, verify: bool = False, unused_for: float | None = None) -> CacheState:
    """The caches in `place`, a project folder or the folder of the caches itself.

    Args:
        verify: read every image and compare checksums.
        unused_for: remove the caches that no training has used for so many days.
    Raises:
        DataError: `place` is no folder.
    """
    if not place.is_dir():
        raise DataError(f"A project must be a folder. Got {place}. Give the folder that holds the runs.")
    cache = place / CACHE_FOLDER if (place / CACHE_FOLDER).is_dir() else place
    removed = [] if unused_for is None else prune_caches(cache, idle_days=unused_for)
    kept = list_caches(cache)
    return CacheState(kept, removed, damaged=[entry for entry in kept if verify and not is_whole(entry)])
