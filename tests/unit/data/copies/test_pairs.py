import pytest

from chiron.core.errors import DataError
from chiron.data.copies.pairs import CopyPair, read_pairs, with_verdicts, write_pairs

CONFIRMED = CopyPair(("a", "b"), True, 0.97, "upright")
SUSPECT = CopyPair(("c", "d"), False, 0.61, "mirrored")


@pytest.mark.parametrize(
    ("pair", "verdict", "same", "suspect"),
    [
        (CONFIRMED, None, True, False),
        (CONFIRMED, "unsure", True, False),
        (CONFIRMED, "same", True, False),
        (CONFIRMED, "different", False, False),
        (SUSPECT, None, False, True),
        (SUSPECT, "unsure", False, True),
        (SUSPECT, "same", True, False),
        (SUSPECT, "different", False, False),
    ],
)
def test_what_a_verdict_does(pair, verdict, same, suspect):
    judged = CopyPair(pair.sample_ids, pair.confirmed, pair.score, pair.view, verdict)
    assert (judged.is_same, judged.is_suspect) == (same, suspect)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    pairs = (CONFIRMED, CopyPair(("c", "x,y"), False, 0.61, "mirrored", "different"))
    write_pairs(tmp_path / "duplicates.csv", pairs)
    assert read_pairs(tmp_path / "duplicates.csv", ["a", "b", "c", "x,y"]) == pairs
    write_pairs(tmp_path / "duplicates.csv", [])
    assert read_pairs(tmp_path / "duplicates.csv", []) == ()


def test_a_person_may_add_a_row(tmp_path):
    (tmp_path / "duplicates.csv").write_text("sample_id_1,sample_id_2,verdict\nd, a ,Same\n")
    assert read_pairs(tmp_path / "duplicates.csv", "abcd") == (CopyPair(("a", "d"), False, None, "", "same"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,b,smae", "A verdict must be same, different, unsure or nothing. Got 'smae' for a and b"),
        ("a,z,same", "two samples of the manifest. Got 'z', which is none"),
        ("a,a,same", "two samples of the manifest. Got 'a' twice"),
    ],
)
def test_a_wrong_row_is_one_sentence(tmp_path, row, message):
    (tmp_path / "duplicates.csv").write_text(f"sample_id_1,sample_id_2,verdict\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "duplicates.csv", "ab")


def test_a_missing_column_is_one_sentence(tmp_path):
    (tmp_path / "duplicates.csv").write_text("sample_id_1,verdict\na,same\n")
    with pytest.raises(DataError, match="Got no 'sample_id_2'"):
        read_pairs(tmp_path / "duplicates.csv", "ab")


def test_verdicts_outlive_a_new_search():
    judged = [CopyPair(("a", "b"), True, 0.9, "upright", "different"), CopyPair(("e", "f"), False, None, "", "same")]
    dropped = CopyPair(("g", "h"), False, 0.5, "upright")
    merged = with_verdicts([CONFIRMED, SUSPECT], [*judged, dropped])
    assert [(pair.name, pair.score, pair.verdict) for pair in merged] == [
        ("a~b", 0.97, "different"),
        ("c~d", 0.61, None),
        ("e~f", None, "same"),
    ]


def test_two_verdicts_on_one_pair_are_a_mistake(tmp_path):
    (tmp_path / "duplicates.csv").write_text("sample_id_1,sample_id_2,verdict\na,b,same\nb,a,different\n")
    with pytest.raises(DataError, match=r"must have one verdict\. Got same and different for a and b"):
        read_pairs(tmp_path / "duplicates.csv", "ab")


def test_a_spreadsheet_may_write_semicolons(tmp_path):
    (tmp_path / "duplicates.csv").write_text("sample_id_1;sample_id_2;verdict\na;b;same\n")
    assert [pair.verdict for pair in read_pairs(tmp_path / "duplicates.csv", "ab")] == ["same"]
