"""Files that fuzzing made and that were once not taken well; `tests/findings` keeps them."""

from pathlib import Path

import pytest

from chiron.core.errors import DataError
from chiron.data.tables import read_table

FINDINGS = sorted((Path(__file__).parents[2] / "findings").iterdir())


def test_there_are_findings():
    assert FINDINGS


@pytest.mark.parametrize("file", FINDINGS, ids=lambda file: file.name)
def test_a_damaged_table_is_one_sentence(file):
    with pytest.raises(DataError, match="must be whole"):
        read_table(file.read_bytes(), file.name)
