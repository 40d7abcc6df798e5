"""Leaks between splits: found, counted, named, accepted by name alone."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from chiron.audit.leaks import LeakPair, find_leaks, require_no_leaks
from chiron.core.errors import DataError, LeakError
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS


def make(rows: list[tuple], *, inferred: tuple[str, ...] = ()) -> Manifest:
    """Rows of (sample_id, split, patient_id, unit_id, bytes, pixels)."""
    names = ["sample_id", "split", "patient_id", "unit_id", "bytes_sha256", "pixels_sha256"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    frame = frame.with_columns(pl.col("sample_id").alias("path"), pl.lit("x").alias("label"))
    certainty = {name: "inferred" if name in inferred else "certain" for name in ("patient_id", "unit_id")}
    return Manifest(frame, ("x", "y"), Path("."), "test", id_certainty=certainty)


CLEAN = [
    ("a", "train", "p1", None, "1", "1"),
    ("b", "train", "p1", None, "1", "1"),
    ("c", "val", "p2", None, "2", "2"),
    ("d", "test", None, None, "3", "3"),
    ("e", "test", None, None, "4", "4"),
]


def test_a_clean_split_has_no_leak():
    report = require_no_leaks(make(CLEAN))
    assert (report.leaks, report.accepted, report.suspects) == ((), (), ())


def test_the_same_picture_is_told_once_for_two_splits_with_counts():
    rows = [*CLEAN, ("f", "val", None, None, "1", "1"), ("g", "test", None, None, "9", "1")]
    report = find_leaks(make(rows))
    assert report.leaks == (
        LeakPair("same bytes", ("a", "f"), ("train", "val"), (2, 1)),
        LeakPair("same pixels", ("a", "g"), ("train", "test"), (2, 1)),
        LeakPair("same pixels", ("f", "g"), ("val", "test"), (1, 1)),
    )
    assert report.names == ["a~f", "a~g", "f~g"]
    assert report.counts() == {
        "same bytes": {"pairs": 1, "between": {"train and val": [2, 1]}},
        "same pixels": {"pairs": 2, "between": {"train and test": [2, 1], "val and test": [1, 1]}},
    }
    json.dumps(report.to_json())


def test_the_table_is_not_looked_through_for_every_picture(monkeypatch):
    calls, plain = [], pl.DataFrame.filter
    monkeypatch.setattr(pl.DataFrame, "filter", lambda *given: calls.append(1) or plain(*given))
    passes = []
    for num_pictures in (2, 40):
        rows = [(f"{split}{k}", split, None, None, f"{k}", f"{k}") for k in range(num_pictures) for split in SPLITS[:2]]
        manifest = make(rows)
        calls.clear()
        assert len(find_leaks(manifest).leaks) == num_pictures
        passes.append(len(calls))
    assert passes[0] == passes[1]


def test_equal_pixels_of_unknown_bytes_are_not_called_the_same_bytes():
    rows = [("a", "train", None, None, None, "1"), ("b", "val", None, None, None, "1")]
    assert [pair.kind for pair in find_leaks(make(rows)).leaks] == ["same pixels"]


def test_certain_ids_are_leaks_and_inferred_ones_are_suspects():
    rows = [*CLEAN, ("f", "test", "p1", "u", "5", "5"), ("g", "cal", None, "u", "6", "6")]
    certain = find_leaks(make(rows))
    assert [(pair.kind, pair.name, pair.num_images) for pair in certain.leaks] == [
        ("same group", "a~g", (2, 1)),  # through f, whose patient is that of a and whose lesion is that of g
        ("same patient_id", "a~f", (2, 1)),
        ("same unit_id", "f~g", (1, 1)),
    ]
    assert certain.suspects == ()
    mixed = require_no_leaks(make(rows, inferred=("unit_id", "patient_id")))
    assert [(pair.kind, pair.name) for pair in mixed.suspects] == [("same patient_id", "a~f"), ("same unit_id", "f~g")]
    assert mixed.leaks == mixed.accepted == ()


def test_images_without_split_or_pixels_are_no_leak_but_their_links_count():
    rows = [("a", "train", "p", None, "1", "1"), ("b", None, "p", "u", "2", "2"), ("c", "test", None, "u", "3", "3")]
    report = find_leaks(make(rows))
    assert [(pair.kind, pair.name, pair.splits) for pair in report.leaks] == [("same group", "a~c", ("train", "test"))]
    unlinked = make([*rows[:2], ("c", "test", None, "v", "1", "3")])
    assert find_leaks(unlinked).leaks == ()  # equal bytes alone, as of two empty files, say nothing of pictures
    broken = replace(make(rows), frame=make(rows).frame.with_columns(pl.lit("unreadable").alias("status")))
    assert find_leaks(broken).leaks == ()


def test_the_order_of_rows_has_no_influence():
    rows = [*CLEAN, ("f", "val", "p1", None, "1", "1"), ("g", "test", "p2", None, "9", "1")]
    assert find_leaks(make(rows)) == find_leaks(make(rows[::-1]))


def test_training_refuses_with_counts_the_first_ten_names_and_what_to_do():
    rows = [(f"{split}{k:02d}", split, None, None, str(k), str(k)) for k in range(12) for split in ("train", "val")]
    with pytest.raises(LeakError) as caught:
        require_no_leaks(make(rows))
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "Got 12 that do (same bytes: 12 in train, 12 in val)" in message
    assert "train00~val00" in message
    assert "train09~val09, ..." in message
    assert "train10" not in message
    assert "chiron data split" in message
    assert "--set data.accept_leaks=@FILE" in message


def test_a_lesion_in_three_splits_is_one_thing_of_three_pairs():
    rows = [(f"{split}{k}", split, None, f"u{k}", None, f"{split}{k}") for k in range(4) for split in ("train", "val")]
    rows += [("test0", "test", None, "u0", None, "t0"), ("test9", "test", None, "u9", None, "t9")]
    report = find_leaks(make(rows))
    assert (len(report.leaks), report.num_shared, report.to_json()["num_shared"]) == (6, 4, 4)
    with pytest.raises(
        LeakError, match=r"Got 4 that do \(same unit_id: 1 in train, 1 in test; .*4 in train, 4 in val\)"
    ):
        require_no_leaks(make(rows))
    assert find_leaks(make(CLEAN)).num_shared == 0


def test_leaks_are_accepted_by_name_and_stay_in_the_report():
    rows = [*CLEAN, ("f", "val", None, None, "1", "1"), ("g", "test", None, None, "9", "2")]
    with pytest.raises(LeakError, match=r"Got 1 that do.*: c~g\. "):
        require_no_leaks(make(rows), ["a~f"])
    report = require_no_leaks(make(rows), ["c~g", "a~f"])
    assert [pair.name for pair in report.accepted] == ["a~f", "c~g"]
    assert report.leaks == ()
    with pytest.raises(DataError, match=r"Got 1 that are not: a~ff\. Did you mean 'a~f'\?"):
        require_no_leaks(make(rows), ["a~f", "c~g", "a~ff"])
