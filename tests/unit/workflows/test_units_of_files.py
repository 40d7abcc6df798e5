import pytest

from chiron.core.errors import DataError
from chiron.workflows.units_of_files import units_of_files

NAMES = ["in/a/1.png", "in/b/1.png", "in/b/2.jpg"]


def table(tmp_path, text: str):
    (tmp_path / "t.csv").write_text(text)
    return tmp_path / "t.csv"


def test_the_longest_name_that_the_table_has_decides(tmp_path):
    said = table(tmp_path, "filename,eye\na/1.png,left\nb/1,right\n2,\n")
    assert units_of_files(NAMES, "eye", said) == ["left", "right", None]
    assert units_of_files(NAMES[:1], "eye", table(tmp_path, "sample_id,eye\n1,left\nx,right\n")) == ["left"]


def test_without_a_table_a_folder_is_a_unit():
    assert units_of_files(NAMES, "folder", None) == ["in/a", "in/b", "in/b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,eyes\n1,left\n", r"--by must be a column of t.csv. Got 'eye', not among .* Did you mean 'eyes'"),
        ("name,eye\na/1.png,left\n", "must have a column of image names"),
        ("filename,eye\n1.png,left\n", "Got 2 called '1.png'"),
        ("filename,eye\nz.png,left\n", "must name the images. Got none of the 3"),
        ("filename,eye\na/1.png,left\na/1.png,right\n", "must be of one eye"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        units_of_files(NAMES, "eye", table(tmp_path, text))


def test_a_column_needs_its_table():
    with pytest.raises(DataError, match="A column needs its table"):
        units_of_files(NAMES, "eye", None)
