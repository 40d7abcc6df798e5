"""The key of keyed hashes, by which a sample is named in what leaves the project.

It lies in the project folder, beside the test ledger, and is never copied; who has it can find the images again.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from chiron.core.errors import DataError
from chiron.core.files import output_error

SHARING_KEY = "sharing_key"
_KEY_BYTES = 32


def sharing_key(project: Path) -> bytes:
    """The project's key; made on first use, readable by its owner alone.

    Raises:
        OutputError: the key cannot be written.
        DataError: the file does not hold a key.
    """
    path = project / SHARING_KEY
    if not path.exists():
        try:
            project.mkdir(parents=True, exist_ok=True)
            _make_key(path)
        except OSError as error:
            raise output_error(path, error) from error
    return _read_key(path)


def _make_key(path: Path) -> None:
    """Puts a whole key in place, unless another process was faster; then its key stays."""
    line = f"{secrets.token_bytes(_KEY_BYTES).hex()}\n"
    temporary = path.with_name(f".{path.name}.tmp-{secrets.token_hex(8)}")
    try:
        _write_new(temporary, line)
        os.link(temporary, path)  # the name appears with the key in it; a rename would replace another's
    except FileExistsError:
        pass
    except OSError:  # a disk without hard links, as FAT
        with suppress(FileExistsError):
            _write_new(path, line)
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def _read_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise DataError(
            f"The sharing key must hold {2 * _KEY_BYTES} hexadecimal digits. Got something else in {path}. Remove it; "
            "hashes in reports that were shared before will then not be found again."
        )
    return key
