"""The key behind keyed hashes."""

import pytest

from chiron.audit.sharing_key import SHARING_KEY, sharing_key
from chiron.core.errors import DataError, OutputError


def test_key_is_made_once_and_for_its_owner_alone(tmp_path):
    key = sharing_key(tmp_path / "project")
    path = tmp_path / "project" / SHARING_KEY
    assert path.stat().st_mode & 0o777 == 0o600
    assert sharing_key(tmp_path / "project") == key
    assert len(key) == 32
    assert sharing_key(tmp_path / "other") != key


def test_damaged_key_is_one_clear_error(tmp_path):
    (tmp_path / SHARING_KEY).write_text("abc")
    with pytest.raises(DataError, match="must hold 64 hexadecimal digits"):
        sharing_key(tmp_path)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        sharing_key(tmp_path / "file" / "project")
