"""Where Chiron keeps for a user what can be found again by measuring or downloading."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The folder: CHIRON_CACHE where it is set, else `chiron` in the place that the system has for such files."""
    if own := os.environ.get("CHIRON_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "chiron"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chiron"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "chiron"
    return Path.home() / ".cache" / "chiron"
