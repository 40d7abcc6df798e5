import sys
from pathlib import Path

import pytest

from chiron.core.user_cache import user_cache


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("linux", {}, ".cache/chiron"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/chiron"),
        ("linux", {"XDG_CACHE_HOME": "/x", "CHIRON_CACHE": "/mine"}, "/mine"),
        ("darwin", {}, "Library/Caches/chiron"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/chiron"),
        ("win32", {}, "AppData/Local/chiron"),
    ],
)
def test_the_place_of_the_system_or_the_users_own(platform, environment, place, monkeypatch):
    for name in ("CHIRON_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert user_cache() == Path.home() / place
