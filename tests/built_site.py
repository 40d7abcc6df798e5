"""What the builder of the site lets pass: `python tests/built_site.py` looks through what `make docs` has built.

Zensical's `--strict` stops at links to pages and headings that are not there. Files, pictures, the navigation and
what a page would ask of other servers are looked at here, in the HTML that a browser gets.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parents[1] / "build" / "site"
# What a browser fetches by itself; a link that a person follows may lead anywhere.
_FETCHED = dict.fromkeys(("script", "img", "iframe", "source", "video", "audio"), "src") | {"object": "data"}
_FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class Page(HTMLParser):
    """Ids, links and everything that is fetched, of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects what the tag names."""
        said = {name: value or "" for name, value in attrs}
        if "id" in said:
            self.ids.add(said["id"])
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag == "link" and _FETCHED_LINKS & set(said.get("rel", "").split()):
            self.fetched.append(said.get("href", ""))
        if tag in _FETCHED and said.get(_FETCHED[tag]):
            self.fetched.append(said[_FETCHED[tag]])


def faults(site: Path) -> Iterator[str]:
    """One line a dead link, missing file, page that no link leads to, or request to another server."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    reached = {site / "index.html", site / "404.html"}
    for path, page in pages.items():
        place = path.relative_to(site)
        for address in page.fetched:
            if urlsplit(address).netloc:
                yield f"{place} asks another server: {address}"
        for address in {*page.links, *page.fetched}:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or path.name == "404.html":  # whose addresses hold for any folder
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if target != path:
                reached.add(target)
            if not target.is_relative_to(site) or not target.is_file():
                yield f"{place} leads to a file that is not there: {address}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{place} leads to a heading that is not there: {address}"
    for path in sorted(set(pages) - reached):
        yield f"{path.relative_to(site)} is reached by no link"


if __name__ == "__main__":
    found = list(faults(SITE.resolve()))
    print("\n".join(found) or f"Every link leads somewhere: {SITE / 'index.html'}")
    sys.exit(bool(found))
