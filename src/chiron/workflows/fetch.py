"""`chiron data fetch`: a file of a data set from the network, checked, unpacked if wanted, and its origin noted."""

import json
import logging
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from chiron.core.errors import DataError, FetchError, SpecError
from chiron.core.files import require_new, write_text
from chiron.data.fetch.download import Downloaded, digest_of, download, require_checksum
from chiron.data.fetch.http import public_url, require_http
from chiron.data.fetch.medmnist import find_medmnist
from chiron.data.fetch.remote import Remote
from chiron.data.fetch.roboflow import find_roboflow, license_in
from chiron.data.fetch.unpack import ARCHIVE_SUFFIXES, TAR_SUFFIXES, unpack
from chiron.data.manifest_columns import SPLIT_FOLDERS

NOTES = "fetched.json"

log = logging.getLogger("chiron.fetch")


def fetch_url(
    url: str,
    out: str | Path,
    *,
    checksum: str | None = None,
    name: str | None = None,
    unpacked: bool | None = None,
    max_bytes: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Downloads any address into the folder `out`; returns what is noted of it, and the path to read from.

    Args:
        url: https or http.
        checksum: `sha256:...` or `md5:...`.
        name: the file's name; the last part of the address by default.
        unpacked: whether an archive is unpacked; None unpacks a tar and keeps a zip, which is read in place.
        max_bytes: a larger file is refused.
        force: replace what was fetched before.
    Raises:
        SpecError: the address, name or checksum is malformed, something stands at the output, or the server refuses.
        FetchError: the server cannot be reached, or its bytes are not what they must be.
        DataError: the archive is damaged or not safe to unpack.
        OutputError: the disk is full or cannot be written.
    """
    name = _require_name(name or unquote(urlsplit(require_http(url)).path.rpartition("/")[2]))
    checksum = require_checksum(checksum) if checksum else None
    remote = Remote(source=public_url(url), url=url, name=name, checksum=checksum)
    return _fetch(remote, Path(out), unpacked=unpacked, max_bytes=max_bytes, force=force)


def fetch_medmnist(
    name: str, out: str | Path, *, img_size: int = 28, max_bytes: int | None = None, force: bool = False
) -> dict[str, Any]:
    """`fetch_url` for a data set of MedMNIST, held to its published checksum."""
    remote = find_medmnist(name, img_size=img_size)
    return _fetch(remote, Path(out), unpacked=False, max_bytes=max_bytes, force=force)


def fetch_roboflow(
    version: str,
    out: str | Path,
    *,
    export_format: str = "folder",
    unpacked: bool = False,
    max_bytes: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """`fetch_url` for `workspace/project/version` at Roboflow; the key comes from ROBOFLOW_API_KEY alone."""
    remote = find_roboflow(version, export_format=export_format)
    return _fetch(remote, Path(out), unpacked=unpacked, max_bytes=max_bytes, force=force)


def _fetch(remote: Remote, out: Path, *, unpacked: bool | None, max_bytes: int | None, force: bool) -> dict[str, Any]:
    file, notes = out / remote.name, _read_notes(out)
    folder = _folder_of(file, notes, unpacked=unpacked, force=force)
    downloaded = _already_here(file, remote)
    if downloaded is None:
        require_new(file, force=force)
        downloaded = download(remote.url, file, checksum=remote.checksum, max_bytes=max_bytes, secret=remote.secret)
        _require_zip(file, remote)
    license_ = remote.license or license_in(file)
    if folder is not None:
        unpack(file, folder)
        file.unlink()
    noted = {
        "source": remote.source,
        "url": public_url(remote.url),
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "num_bytes": downloaded.num_bytes,
        "sha256": downloaded.sha256,
        "verified": downloaded.verified,
        "license": license_,
        "unpacked": folder.name if folder else None,
    }
    write_text(out / NOTES, json.dumps({**notes, remote.name: noted}, indent=2, ensure_ascii=False) + "\n")
    return {"path": str(_inside(folder) if folder else file), **noted}


def _folder_of(file: Path, notes: dict[str, Any], *, unpacked: bool | None, force: bool) -> Path | None:
    """The folder to unpack into; None when the file stays as it is."""
    lower = file.name.lower()
    suffix = max((end for end in ARCHIVE_SUFFIXES if lower.endswith(end)), key=len, default="")
    if unpacked and not suffix:
        raise SpecError(f"Only {', '.join(ARCHIVE_SUFFIXES)} can be unpacked. Got {file.name}. Leave out --unpack.")
    if not (suffix in TAR_SUFFIXES if unpacked is None else unpacked):
        return None
    folder = file.with_name(file.name[: -len(suffix)])
    require_new(folder, force=force)
    ours = isinstance(notes.get(file.name), dict) and notes[file.name].get("unpacked") == folder.name
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise SpecError(
            f"--force replaces only what was fetched. Got another folder at {folder}. Choose another --out."
        )
    return folder


def _inside(folder: Path) -> Path:
    """The one folder that an archive held, unless it is a split; a zip in place is seen from inside it as well."""
    entries = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    one = len(entries) == 1 and entries[0].is_dir() and entries[0].name.lower() not in SPLIT_FOLDERS
    return entries[0] if one else folder


def _already_here(file: Path, remote: Remote) -> Downloaded | None:
    """The file of an earlier time, when it has the checksum that is asked for."""
    if not file.is_file() or remote.checksum is None:
        return None
    algorithm, _, digest = remote.checksum.partition(":")
    if digest_of(file, algorithm) != digest:
        return None
    log.info("%s is here already and has the right checksum", file.name)
    return Downloaded(file.stat().st_size, digest_of(file, "sha256"), remote.checksum)


def _require_zip(file: Path, remote: Remote) -> None:
    """Refuses a page of the web, such as a login, that came instead of the file."""
    if file.suffix.lower() in (".zip", ".npz") and not zipfile.is_zipfile(file):
        with file.open("rb") as stream:
            page = b"<html" in stream.read(2048).lower()
        file.unlink()
        raise FetchError(
            f"The download must be a {file.suffix.lower()[1:]} file. Got {'a web page' if page else 'something else'} "
            f"from {public_url(remote.url)}; it is removed. Look for the direct address of the file."
        )


def _require_name(name: str) -> str:
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable() or name == NOTES:
        raise SpecError(f"The file must have a plain name. Got {name!r}. Give it one with --name.")
    return name


def _read_notes(out: Path) -> dict[str, Any]:
    path = out / NOTES
    if not path.exists():
        return {}
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        notes = None
    if not isinstance(notes, dict):
        raise DataError(f"{NOTES} must hold what was fetched before. Got something else at {path}. Move it away.")
    return notes
