"""The page in a real browser: Debian's Chromium or the one that CHROMIUM names."""

import os
import shutil
from pathlib import Path

import pytest
from page_stand_in import card, each, explanation, ok, page_server

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """A browser, or a skip that says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(program).is_file():
        pytest.skip(f"no Chromium is here: CHROMIUM must name one. Got {program}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def server():
    """A stand-in with one model that answers every image."""
    with page_server() as server:
        server.answers = {
            "/api/models": ok({"models": [card()], "disclaimer": ""}),
            "/api/predict": each(),
            "/api/explain": ok(explanation()),
        }
        yield server


@pytest.fixture
def open_page(browser):
    """Opens an address in a fresh context; whatever the page asks of other hosts or complains of fails the test.

    `mayfail` lets the browser note answers of 400 and above, which it does by itself.
    """
    contexts, complaints, allowed = [], [], []

    def opened(url, *, mayfail=False, wait="#about-title", **how):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-US", **how})
        contexts.append(context)
        allowed.append(url)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: (mayfail and "Failed to load" in told.text) or complaints.append(told.text))
        page.on("request", lambda request: _is_own(request.url, url) or complaints.append(request.url))
        page.goto(url)
        page.wait_for_selector(wait)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def _is_own(asked: str, url: str) -> bool:
    return asked.startswith((url, "blob:" + url.rstrip("/"), "data:"))


@pytest.fixture
def image_files(tmp_path):
    """Three small images with telling names."""
    from PIL import Image

    paths = [tmp_path / f"Jane Doe {k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        Image.new("L", (40, 40 + 8 * k), 60 * k + 40).save(path)
    return paths
