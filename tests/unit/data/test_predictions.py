import numpy as np
import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.predictions import Predictions


def table(**changes) -> pl.DataFrame:
    columns = {
        "sample_id": ["a", "b", "c"],
        "group_id": ["g1", "g1", "g2"],
        "y_true": ["cat", "dog", None],
        "status": ["ok", "ok", "unreadable"],
        "logit_cat": [2.0, -1.0, None],
        "logit_dog": [0.0, 0.5, None],
    }
    return pl.DataFrame(columns | changes)


def test_round_trip_keeps_every_bit(tmp_path):
    logits = np.random.default_rng(0).normal(size=3).astype(np.float32).astype(np.float64)
    frame = table(status=["ok"] * 3, y_true=["cat", "dog", "cat"], logit_cat=logits, logit_dog=-logits)
    before = Predictions(frame, ("cat", "dog"), "dog", {"bundle_id": "x"})
    before.save(tmp_path / "test.csv")
    after = Predictions.load(tmp_path / "test.csv")
    np.testing.assert_array_equal(after.y_prob, before.y_prob)
    assert (after.classes, after.positive, after.facts) == (("cat", "dog"), "dog", {"bundle_id": "x"})


def test_only_read_rows_with_a_label_are_scored():
    predictions = Predictions(table(), ("cat", "dog"), "dog")
    assert predictions.y_true.tolist() == [0, 1]
    assert predictions.groups is not None
    assert len(set(predictions.groups)) == 1
    np.testing.assert_allclose(predictions.y_prob[0], [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))])


def test_table_of_another_framework(tmp_path):
    (tmp_path / "other.csv").write_text("sample_id,y_true,prob_cat,prob_dog\n1,cat,0.7,0.3\n2,,0.2,0.8\n")
    predictions = Predictions.load(tmp_path / "other.csv", positive="dog")
    assert predictions.classes == ("cat", "dog")
    assert predictions.y_prob.tolist() == [[0.7, 0.3]]
    assert predictions.groups is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_id": ["a", "a", "c"]}, "own sample_id"),
        ({"status": ["ok", "fine", "unreadable"]}, "status must be one of"),
        ({"y_true": ["cat", "cow", None]}, "y_true must be one of cat, dog. Got cow"),
        ({"logit_cat": [2.0, float("nan"), None]}, "finite"),
        ({"logit_cat": [2.0, None, None]}, "finite"),
    ],
)
def test_what_a_table_must_hold(changes, message):
    with pytest.raises(DataError, match=message):
        Predictions(table(**changes), ("cat", "dog"), "dog")


def test_probabilities_must_be_probabilities():
    frame = pl.DataFrame({"sample_id": ["a"], "y_true": ["x"], "status": ["ok"], "prob_x": [0.9], "prob_y": [0.9]})
    with pytest.raises(DataError, match="sum to 1"):
        Predictions(frame, ("x", "y"), "x")


def test_missing_columns_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("sample_id,y_tru,logit_a,logit_b\n1,a,0,1\n")
    with pytest.raises(DataError, match=r"must have the column 'y_true'.*Did you mean 'y_tru'"):
        Predictions.load(tmp_path / "t.csv", positive="a")
    (tmp_path / "u.csv").write_text("sample_id,y_true\n1,a\n")
    with pytest.raises(DataError, match="must hold logit_<class> or prob_<class> columns"):
        Predictions.load(tmp_path / "u.csv")
    with pytest.raises(DataError, match="readable CSV"):
        Predictions.load(tmp_path / "missing.csv")


def test_patients_group_where_there_is_no_group_id():
    frame = table(patient_id=["p", "p", None]).drop("group_id")
    groups = Predictions(frame, ("cat", "dog"), "dog").groups
    assert groups is not None
    assert groups[0] == groups[1]


def test_a_blank_group_is_a_group_of_its_own():
    frame = table(
        group_id=["g", None, None],
        status=["ok"] * 3,
        y_true=["cat", "dog", "cat"],
        logit_cat=[1.0, 2.0, 3.0],
        logit_dog=[0.0, 0.0, 0.0],
    )
    assert len(set(Predictions(frame, ("cat", "dog"), "dog").groups)) == 3


def test_labels_filled_in_after_predicting_are_scored(tmp_path):
    (tmp_path / "p.csv").write_text(
        "sample_id,y_true,status,logit_a,logit_b\nx,a,no_reference,1,0\ny,,no_reference,0,1\n"
    )
    predictions = Predictions.load(tmp_path / "p.csv", positive="a")
    assert predictions.scored["sample_id"].to_list() == ["x"]


def test_rounded_probabilities_of_many_classes_are_taken():
    classes = tuple("abcdefg")
    frame = pl.DataFrame(
        {"sample_id": ["x"], "y_true": ["a"], "status": ["ok"], **{f"prob_{c}": [0.143] for c in classes}}
    )
    assert Predictions(frame, classes).y_prob.sum() == pytest.approx(1, abs=1e-12)


def test_facts_of_another_program_are_left_alone(tmp_path):
    (tmp_path / "p.csv").write_text("sample_id,y_true,prob_a,prob_b\nx,a,0.7,0.3\n")
    (tmp_path / "p.json").write_text("[1, 2]")
    assert Predictions.load(tmp_path / "p.csv", positive="a").classes == ("a", "b")
    (tmp_path / "p.json").write_text("{broken")
    with pytest.raises(DataError, match="must be readable JSON"):
        Predictions.load(tmp_path / "p.csv", positive="a")
