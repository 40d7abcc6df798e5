"""The key behind keyed hashes."""

import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from chiron.audit import sharing_key as module
from chiron.audit.sharing_key import SHARING_KEY, sharing_key
from chiron.core.errors import DataError, OutputError


def test_key_is_made_once_and_for_its_owner_alone(tmp_path):
    key = sharing_key(tmp_path / "project")
    path = tmp_path / "project" / SHARING_KEY
    assert path.stat().st_mode & 0o777 == 0o600
    assert sharing_key(tmp_path / "project") == key
    assert len(key) == 32
    assert sharing_key(tmp_path / "other") != key


def test_damaged_key_is_one_clear_error(tmp_path):
    (tmp_path / SHARING_KEY).write_text("abc")
    with pytest.raises(DataError, match="must hold 64 hexadecimal digits"):
        sharing_key(tmp_path)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        sharing_key(tmp_path / "file" / "project")


def test_processes_that_start_together_get_one_key(tmp_path):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        keys = list(pool.map(sharing_key, [tmp_path] * 12))
    assert len(set(keys)) == 1
    assert os.listdir(tmp_path) == [SHARING_KEY]


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_write_the_first_wins(tmp_path, monkeypatch, links):
    """Also where the disk knows no hard links."""
    make = module._make_key

    def slow(path):
        time.sleep(0.1)  # until all have seen that there is no key
        make(path)

    def no_link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module, "_make_key", slow)
    if not links:
        monkeypatch.setattr(os, "link", no_link)
        one = sharing_key(tmp_path)
        make(tmp_path / SHARING_KEY)
        assert sharing_key(tmp_path) == one
    else:
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(sharing_key, [tmp_path] * 8))) == 1
    assert (tmp_path / SHARING_KEY).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [SHARING_KEY]


def test_the_name_never_stands_without_the_key_in_it(tmp_path, monkeypatch):
    write = module._write_new

    def watched(path, line):
        write(path, line)
        assert not (tmp_path / SHARING_KEY).exists()

    monkeypatch.setattr(module, "_write_new", watched)
    assert len(sharing_key(tmp_path)) == 32
