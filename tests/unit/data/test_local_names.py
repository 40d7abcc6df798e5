"""Names behind hashes: several processes may add to them at once."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from chiron.core.errors import OutputError
from chiron.data.local_names import LocalName, add_local_names, read_local_names


def name(key):
    return LocalName("/data", f"{key}.png", f"s-{key}", key)


def add(file, first):
    for k in range(first, first + 15):
        add_local_names(file, {f"h{k}": name(f"n{k}")})


def test_two_processes_lose_no_row(tmp_path):
    file = tmp_path / "project" / "local_names.csv"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(add, [file] * 2, [0, 100]))
    assert read_local_names(file) == {f"h{k}": name(f"n{k}") for k in (*range(15), *range(100, 115))}


def test_names_are_for_their_owner_alone_and_a_later_one_counts(tmp_path):
    file = tmp_path / "local_names.csv"
    add_local_names(file, {"h1": name("a"), "h2": name("b")})
    add_local_names(file, {"h2": name("c")})
    assert read_local_names(file) == {"h1": name("a"), "h2": name("c")}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        add_local_names(tmp_path / "file" / "local_names.csv", {})
