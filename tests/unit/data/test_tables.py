"""Tables of any program are read alike, and every mistake has its line."""

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.columns import columns_for, known_roles
from chiron.data.tables import read_table

PLAIN = "image,label\na.png,nævus\nb.png,melanoma\n"
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


def rows(data: bytes, name: str = "t.csv") -> list[tuple]:
    table = read_table(data, name)
    return [tuple(table.frame.columns), *table.frame.iter_rows()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_separators(encoding, separator, newline):
    text = PLAIN.replace(",", separator).replace("\n", newline)
    assert rows(text.encode(encoding)) == [("image", "label"), ("a.png", "nævus"), ("b.png", "melanoma")]


def test_cells_are_trimmed_blank_ones_are_null_and_blank_lines_skipped():
    table = read_table(b' image , label \n\n a.png ,  \n"b, c.png", "x"\n\n,\n', "t.csv")
    assert list(table.frame.iter_rows()) == [("a.png", None), ("b, c.png", '"x"')]
    assert table.where([0, 1]) == "lines 3, 4 of t.csv"


def test_a_written_index_gets_a_name():
    assert rows(b",image\n0,a\n1,b\n")[0] == ("unnamed_1", "image")


def test_lines_count_line_breaks_inside_quotes():
    table = read_table(b'image,note\na,"two\nlines"\nb,x\n', "t.csv")
    assert table.lines == (3, 4)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_a_csv_writer_writes_is_read_back(pairs):
    stream = io.StringIO()
    csv.writer(stream).writerows([("image", "label"), *pairs])
    expected = [tuple(cell.strip() or None for cell in pair) for pair in pairs if any(cell.strip() for cell in pair)]
    if expected:
        assert rows(stream.getvalue().encode())[1:] == expected


@settings(deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"", b"image,label\n", b"\xff\xfe", b"\xef\xbb\xbfa;b\n"]))
def test_any_bytes_are_a_table_or_refused_in_one_sentence(data, start):
    with suppress(DataError):
        table = read_table(start + data, "t.csv")
        assert table.frame.height == len(table.lines) > 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("image,label\na,x\nb,n\xe6vus\n".encode("cp1252"),
         r"must be UTF-8 text\. Got the byte 0xe6 in line 3 of t\.csv\. .*iconv"),
        (b"image,label\na,\0x\n", "zero byte in t.csv"),
        (b"\xff\xfea", "whole UTF-16 text"),
        (b"", r"a header and rows\. Got 0 lines in t\.csv"),
        (b"image,label\n", r"Got 1 line in t\.csv"),
        (b"image,label,image\na,x,b\n", "own name. Got image more than once"),
        (b"image,label\na,x\nb,x,y\nc\n", r"as many cells as the header \(2\)\. Got 3 in lines 3, 4 of t\.csv"),
        (b'image,label\na,"x\nb,y\n', "every quote closed"),
    ],
    ids=["cp1252", "zero", "half utf-16", "empty", "header alone", "repeated", "ragged", "open quote"],
)  # fmt: skip
def test_tables_that_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        read_table(data, "t.csv")


@pytest.mark.parametrize(
    ("what", "columns", "expected"),
    [
        ("image", ["isic_id", "dx"], "isic_id"),
        ("image", ["Image Index", "Finding"], "Image Index"),
        ("image", ["path", "image_id"], "image_id"),
        ("label", ["Diagnosis"], "Diagnosis"),
        ("patient_id", ["PatientID"], "PatientID"),
        ("unit_id", ["lesionId"], "lesionId"),
        ("patient_id", ["patients in ward"], None),
    ],
)
def test_columns_are_known_by_the_names_of_the_field(what, columns, expected):
    assert (columns_for(what, columns, table="t.csv") or [None])[0] == expected


def test_columns_that_differ_only_in_case_are_refused():
    with pytest.raises(DataError, match=r"Got 'Label' and 'label' in t\.csv"):
        columns_for("label", ["Label", "label"], table="t.csv")


def test_roles_follow_from_widely_used_names_and_nothing_else():
    roles = known_roles(["age_approx", "dx_type", "Fitzpatrick", "colour of socks"])
    assert roles == {"age_approx": "predictor", "dx_type": "reference_standard", "Fitzpatrick": "subgroup"}
