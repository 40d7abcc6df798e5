"""A zip of images, read in place."""

import stat
import threading
import zipfile
from pathlib import Path

from chiron.core.errors import DataError
from chiron.data.manifest_columns import SPLIT_FOLDERS
from chiron.data.sources.safety import (
    BROKEN_ARCHIVE,
    MAX_FILE_BYTES,
    is_hidden,
    refuse_bomb,
    require_inside,
    require_text,
)


class ZipFile:
    """Files of a zip, by their path; one that holds one top folder is seen from inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zip = zipfile.ZipFile(root)
        self.lock = threading.Lock()  # one file position; decoding, the slow part, happens outside
        members = [info for info in self.zip.infolist() if not info.filename.endswith("/")]
        refuse_bomb(members, root, max_bytes=MAX_FILE_BYTES)
        if links := [info.filename for info in members if stat.S_ISLNK(info.external_attr >> 16)]:
            raise DataError(f"A zip must hold files, not links. Got {links[0]!r} in {root}. Pack the files themselves.")
        named = {require_inside(info.filename.replace("\\", "/"), root): info for info in members}
        if len(named) < len(members):
            raise DataError(f"Every file in a zip must have its own name. Got repeated ones in {root}. Pack it again.")
        named = {name: info for name, info in named.items() if not is_hidden(name)}
        top = _one_top_folder(list(named))
        self.members = {name.removeprefix(top): info for name, info in named.items()}

    def names(self) -> list[str]:
        """All files, sorted, hidden ones left out."""
        return sorted(require_text(name, self.root) for name in self.members)

    def read_bytes(self, path: str) -> bytes:
        """The bytes of one file."""
        info = self.members.get(path)
        if info is None:
            raise DataError(f"An image must be in the zip. Got no {path} in {self.root}. Check the path.")
        try:
            with self.lock:
                return self.zip.read(info)
        except BROKEN_ARCHIVE as error:
            raise DataError(f"A file in a zip must unpack completely. Got {error}: {path} in {self.root}.") from error


def _one_top_folder(names: list[str]) -> str:
    """`folder/` when all files lie in one folder that is no split; else an empty string."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    top = tops.pop() if len(tops) == 1 else ""
    return f"{top}/" if top and top.lower() not in SPLIT_FOLDERS else ""
