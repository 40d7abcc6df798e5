"""A file of lines of which none can be changed, removed or put in between unseen."""

import json

import pytest

from chiron.core.chain import append_to_chain, read_chain
from chiron.core.errors import OutputError


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "deep" / "chain.jsonl"
    for k in range(4):
        append_to_chain(path, {"k": k, "text": "ä" * (30_000 * (k == 1))}, sync=k % 2 == 0)
    return path


def test_what_is_written_is_read(chain, tmp_path):
    found, whole = read_chain(chain)
    assert whole
    assert [it["k"] for it in found] == [0, 1, 2, 3]
    assert found[0]["before"] == ""
    assert len({it["before"] for it in found}) == 4
    assert read_chain(tmp_path / "none") == ([], True)


@pytest.mark.parametrize("harm", ["change", "remove", "swap", "insert", "cut"])
def test_every_harm_breaks_the_chain_for_good(chain, harm):
    lines = chain.read_text().splitlines()
    if harm == "change":
        lines[1] = lines[1].replace('"k": 1', '"k": 7')
    elif harm == "remove":
        del lines[1]
    elif harm == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif harm == "insert":
        lines.insert(1, json.dumps({"k": 9, "before": "", "hash": ""}))
    else:
        lines[-1] = lines[-1][:40]
    chain.write_text("\n".join(lines) + ("\n" if harm != "cut" else ""))
    assert not read_chain(chain)[1]
    append_to_chain(chain, {"k": 4})
    found, whole = read_chain(chain)
    assert not whole
    assert found[-1]["k"] == 4  # a line that was cut off does not take the next one with it


def test_the_end_of_a_long_file_is_found_without_reading_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("chiron.core.chain._PIECE", 7)
    path = tmp_path / "chain.jsonl"
    for k in range(3):
        append_to_chain(path, {"k": k})
    path.write_text(path.read_text() + "\n\n")  # blank lines count for nothing
    append_to_chain(path, {"k": 3})
    assert read_chain(path)[1]


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        append_to_chain(tmp_path / "file" / "chain.jsonl", {})
