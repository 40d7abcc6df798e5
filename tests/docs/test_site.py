"""The site that `make docs` builds: every page is in its navigation, and the look through it finds faults."""

import tomllib
from pathlib import Path

import pytest
from built_site import faults

ROOT = Path(__file__).parents[2]


def listed(entries: list) -> list[str]:
    """The files that a navigation names, in order."""
    return [
        file
        for entry in entries
        for file in ([entry] if isinstance(entry, str) else [it for part in entry.values() for it in listed(part)])
    ]


def test_every_page_stands_in_the_navigation_once():
    names = listed(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(names) == sorted({"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "experiments/LOG.md"} | pages)


WHOLE = {
    "index.html": '<h1 id="top">x</h1><a href="#top">up</a><a href="a/b.html#part">b</a><a href="https://x.org">x</a>',
    "a/b.html": '<h2 id="part">x</h2><img src="../p%20q.png"><a href="../">home</a>',
    "p q.png": "",
}


def write(site: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return site


def test_a_whole_site_has_no_fault(tmp_path):
    assert list(faults(write(tmp_path, WHOLE))) == []


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ('<a href="none.html">x</a>', "index.html leads to a file that is not there: none.html"),
        ('<a href="a/b.html#none">x</a>', "index.html leads to a heading that is not there: a/b.html#none"),
        ('<a href="#none">x</a>', "index.html leads to a heading that is not there: #none"),
        ('<a href="../outside.py">x</a>', "index.html leads to a file that is not there: ../outside.py"),
        ('<img src="none.png">', "index.html leads to a file that is not there: none.png"),
        ('<script src="https://cdn.org/x.js">', "index.html asks another server: https://cdn.org/x.js"),
        ('<script src="//cdn.org/x.js">', "index.html asks another server: //cdn.org/x.js"),
        ('<link rel="preload stylesheet" href="https://f.org/c">', "index.html asks another server: https://f.org/c"),
    ],
)
def test_a_fault_is_told(tmp_path, added, fault):
    write(tmp_path, WHOLE | {"index.html": WHOLE["index.html"] + added})
    assert list(faults(tmp_path)) == [fault]


def test_a_page_that_no_link_leads_to_is_told(tmp_path):
    write(tmp_path, WHOLE | {"lost.html": '<a href="index.html">x</a>'})
    assert list(faults(tmp_path)) == ["lost.html is reached by no link"]
