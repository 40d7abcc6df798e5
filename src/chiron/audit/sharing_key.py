"""The key of keyed hashes, by which a sample is named in what leaves the project.

It lies in the project folder, beside the test ledger, and is never copied; who has it can find the images again.
"""

import os
import secrets
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
    try:
        project.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise output_error(path, error) from error
    key = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(key.hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return key


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
