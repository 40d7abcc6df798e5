"""Roboflow: the export of one version of a project, asked for by the owner of a key.

The server makes an export when it is first asked for: it answers 202 with a progress until it gives the link to a zip.
Source: the REST API as described at docs.roboflow.com, and roboflow-python's reading of it.
"""

import logging
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from chiron.core.errors import DataError, FetchError, SpecError
from chiron.data.fetch.http import RefusedError, get_json, require_http, require_onward
from chiron.data.fetch.remote import Remote

KEY_VARIABLE = "ROBOFLOW_API_KEY"
POLL_SECONDS = 3.0
MAX_WAIT_SECONDS = 1800.0
_URL = "https://api.roboflow.com"
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})

log = logging.getLogger("chiron.fetch")


def find_roboflow(version: str, *, export_format: str = "folder") -> Remote:
    """Asks for the export of `workspace/project/version` and waits until it is made.

    The key comes from the environment (ROBOFLOW_API_KEY), and goes nowhere but to the API; CHIRON_ROBOFLOW_URL names
    another address of the API.

    Raises:
        SpecError: the name or format is malformed, there is no key, or the server does not know or allow it.
        FetchError: the server cannot be reached, or does not give an export in time.
    """
    if not re.fullmatch(r"[\w-]+/[\w-]+/\d+", version, re.ASCII):
        raise SpecError(
            f"A Roboflow data set must be named WORKSPACE/PROJECT/VERSION. Got {version!r}. "
            "They stand in the address of its page, for example hi-l9ueo/ich-s-7lnsj/1."
        )
    if not re.fullmatch(r"[\w-]+", export_format, re.ASCII):
        raise SpecError(f"The export format must be a word such as folder. Got {export_format!r}. Check --format.")
    key, base = _key(), _base()
    url = f"{base}/{version}/{export_format}"
    link = _wait_for_link(f"{url}?api_key={quote(key, safe='')}&nocache=true", version, key)
    require_onward(url, require_http(link), key)
    _, project, number = version.split("/")
    name = f"{project}.v{number}.{export_format}.zip"
    return Remote(source=f"Roboflow {version}, format {export_format}", url=link, name=name, secret=key)


def license_in(export: Path) -> str | None:
    """What the texts that Roboflow puts into an export say after `License:`; None when there are none.

    Raises:
        DataError: a zip is damaged.
    """
    if not zipfile.is_zipfile(export):
        return None
    try:
        with zipfile.ZipFile(export) as packed:
            for info in packed.infolist():
                if re.fullmatch(r"(.*/)?README\.(dataset|roboflow)\.txt", info.filename) and info.file_size < 1 << 20:
                    text = packed.read(info).decode(errors="replace")
                    if found := re.search(r"^License: *(\S.{0,199})$", text, re.MULTILINE):
                        return found[1].strip()
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise DataError(f"An export must be a complete zip. Got {error} in {export}. Get it again.") from error
    return None


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise SpecError(
            f"Roboflow wants a key, in the environment variable {KEY_VARIABLE}. Got none. "
            "Copy the private key from your workspace's settings at app.roboflow.com (API keys) and set the variable."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SpecError(f"{KEY_VARIABLE} must hold one word. Got blanks or odd characters in it. Copy the key again.")
    return key


def _base() -> str:
    base = require_http(os.environ.get("CHIRON_ROBOFLOW_URL") or _URL).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in _HERE:
        raise SpecError(f"A key must travel by https. Got {parts.scheme}://{parts.hostname}. Mend CHIRON_ROBOFLOW_URL.")
    return base


def _wait_for_link(url: str, version: str, key: str) -> str:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        status, answer = _ask(url, version, key)
        export = answer.get("export")
        link = export.get("link") if isinstance(export, dict) else None
        if isinstance(link, str) and link:
            return link
        progress = answer.get("progress")
        if status != 202 and progress is None:
            raise FetchError(
                f"Roboflow must give a link to the export. Got an answer without one for {version}. "
                "Open the version on its page and export it there once, then run the same command again."
            )
        if time.monotonic() > deadline:
            raise FetchError(
                f"Roboflow must make the export within {MAX_WAIT_SECONDS / 60:g} minutes. Got none of {version} yet. "
                "Run the same command again later."
            )
        done = f": {100 * progress:.0f} %" if isinstance(progress, int | float) else ""
        log.info("Roboflow makes the export%s", done)
        time.sleep(POLL_SECONDS)


def _ask(url: str, version: str, key: str) -> tuple[int, dict[str, Any]]:
    try:
        status, answer = get_json(url, secret=key)
    except RefusedError as error:
        advice = {
            401: f"Check that {KEY_VARIABLE} holds a private key of a workspace that may read it.",
            403: f"Check that {KEY_VARIABLE} holds a private key of a workspace that may read it.",
            404: "Check workspace, project and version.",
        }
        raise SpecError(
            f"Roboflow must give {version}. Got code {error.status}. "
            + advice.get(error.status, "Check workspace, project, version and --format.")
        ) from None
    return status, answer if isinstance(answer, dict) else {}
