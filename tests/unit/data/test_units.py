import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.predictions import Predictions
from chiron.data.units import at_unit, require_answers, unit_names
from chiron.spec.decision import Decision
from chiron.spec.labels import LabelSpace

PATIENT = Decision(unit="patient")


def table(**changes) -> pl.DataFrame:
    columns = {
        "sample_id": ["a", "b", "c", "d", "e"],
        "patient_id": ["p2", "p1", "p2", None, "p1"],
        "group_id": ["g2", "g1", "g2", "g3", "g1"],
        "sex": ["f", "m", "f", "m", "f"],
        "y_true": ["cat", "dog", "cat", "dog", None],
        "status": ["ok", "ok", "ok", "ok", "unreadable"],
        "logit_cat": [2.0, -1.0, 4.0, 0.0, None],
        "logit_dog": [0.0, 0.5, 1.0, 3.0, None],
    }
    return pl.DataFrame(columns | changes)


def single(**changes) -> Predictions:
    return Predictions(table(**changes), ("cat", "dog"), "dog")


def several(labels: list[list[int | None]], units: list[str]) -> Predictions:
    count = len(labels)
    columns = {f"y_true_{name}": pl.Series([row[k] for row in labels], dtype=pl.Int8) for k, name in enumerate("xy")}
    logits = {f"logit_{name}": np.arange(count, dtype=float) for name in "xy"}
    frame = pl.DataFrame(
        {"sample_id": [f"i{k}" for k in range(count)], "unit_id": units, "status": ["ok"] * count} | columns | logits
    )
    return Predictions(frame, ("x", "y"))


def test_one_row_a_patient_in_the_order_of_first_images():
    units = at_unit(single(), PATIENT)
    frame = units.predictions.frame
    assert frame["sample_id"].to_list() == ["p2", "p1", "d"]
    assert frame["num_images"].to_list() == [2, 1, 1]
    assert frame["y_true"].to_list() == ["cat", "dog", "dog"]
    assert frame["sex"].to_list() == ["f", None, "m"]  # a value that images of a patient do not share is none
    assert frame["logit_cat"].to_list() == [3.0, -1.0, 0.0]
    assert frame["logit_dog"].to_list() == [0.5, 0.5, 3.0]
    assert (units.num_blank, units.unit_of_image) == (1, ("p2", "p1", "p2", "d", "p1"))
    assert units.predictions.groups == ["g-a", "g-b", "g-d"]


def test_a_unit_is_what_the_best_of_its_images_is():
    units = at_unit(single(status=["unreadable", "no_reference", "ok", "excluded", "unreadable"]), PATIENT)
    frame = units.predictions.frame
    assert frame["status"].to_list() == ["ok", "no_reference", "excluded"]
    assert frame["num_images"].to_list() == [1, 1, 0]
    assert frame["logit_cat"].to_list() == [4.0, -1.0, None]


def test_an_image_without_label_adds_to_the_output_of_its_unit_and_not_to_its_label():
    units = at_unit(
        single(
            status=["no_reference", "ok", "ok", "ok", "unreadable"],
            y_true=[None, "dog", "dog", "dog", None],
        ),
        PATIENT,
    )
    assert units.predictions.frame["y_true"].to_list() == ["dog", "dog", "dog"]
    assert units.predictions.frame["num_images"].to_list() == [2, 1, 1]


@pytest.mark.parametrize("rule", ["mean_logit", "mean_prob", "max_prob"])
def test_units_of_one_image_keep_every_number(rule, random):
    logits = random.normal(size=(5, 2))
    predictions = single(
        patient_id=list("vwxyz"),
        group_id=list("55432"),
        logit_cat=logits[:, 0],
        logit_dog=logits[:, 1],
        status=["ok"] * 5,
        y_true=["cat", "dog", "cat", "dog", "cat"],
    )
    units = at_unit(predictions, Decision(unit="patient", combine=rule)).predictions
    np.testing.assert_array_equal(units.y_prob, predictions.y_prob)
    np.testing.assert_array_equal(units.y_true, predictions.y_true)
    assert units.groups == predictions.groups


def test_probabilities_of_other_programs_are_combined_too():
    frame = pl.DataFrame(
        {
            "sample_id": list("abc"), "patient_id": ["p", "p", "q"], "y_true": list("xxy"), "status": ["ok"] * 3,
            "prob_x": [0.9, 0.5, 0.123], "prob_y": [0.1, 0.5, 0.877],
        }
    )  # fmt: skip
    units = at_unit(Predictions(frame, ("x", "y"), "y"), Decision(unit="patient", combine="mean_prob")).predictions
    np.testing.assert_allclose(units.y_prob[0], [0.7, 0.3])
    assert units.frame["prob_x"][1] == 0.123
    by_logit = at_unit(Predictions(frame, ("x", "y"), "y"), PATIENT).predictions.y_prob[0]
    np.testing.assert_allclose(by_logit, [0.75, 0.25])  # odds 9 and 1: geometric mean 3


def test_members_are_combined_one_by_one():
    frame = table()
    for member in range(2):
        frame = frame.with_columns(
            (pl.col(f"logit_{name}") + (2 * member - 1)).alias(f"member_{member}_logit_{name}")
            for name in ("cat", "dog")
        )
    units = at_unit(Predictions(frame, ("cat", "dog"), "dog"), PATIENT).predictions.frame
    assert units["member_0_logit_cat"].to_list() == [2.0, -2.0, -1.0]
    assert units["member_1_logit_cat"].to_list() == [4.0, 0.0, 1.0]


def test_different_labels_are_listed_and_need_a_rule():
    mixed = single(y_true=["cat", "dog", "dog", "dog", None])
    with pytest.raises(
        DataError, match=r"one patient must have one label. Got different ones in 1 of 3: p2 \(cat, dog"
    ):
        at_unit(mixed, PATIENT)
    for rule, label in (("any_positive", "dog"), ("most", "cat")):  # of equal ones the first class
        found = at_unit(mixed, Decision(unit="patient", unit_label=rule)).predictions.frame
        assert found["y_true"].to_list() == [label, "dog", "dog"]


def test_labels_of_several_an_image():
    predictions = several([[1, 0], [0, None], [-1, 0], [0, None]], ["u", "u", "v", "v"])
    with pytest.raises(DataError, match="Got different ones in 2 of 2"):
        at_unit(predictions, Decision(unit="unit"))
    found = at_unit(predictions, Decision(unit="unit", unit_label="any_positive")).predictions.frame
    assert found["y_true_x"].to_list() == [1, -1]
    assert found["y_true_y"].to_list() == [0, 0]  # what one image leaves open another says


def test_what_cannot_be_a_unit_is_refused():
    with pytest.raises(DataError, match="needs the column unit_id"):
        at_unit(single(), Decision(unit="unit"))
    with pytest.raises(DataError, match="needs the column patient_id"):
        at_unit(single(patient_id=pl.Series([None, "", " ", None, None], dtype=pl.String)), PATIENT)
    with pytest.raises(DataError, match="Got several groups in 1: p2"):
        at_unit(single(group_id=["g2", "g1", "g9", "g3", "g1"]), PATIENT)
    three = Predictions(table().with_columns(logit_cow=pl.lit(0.0)), ("cat", "dog", "cow"))
    with pytest.raises(DataError, match="any_positive needs a positive class"):
        at_unit(three, Decision(unit="patient", unit_label="any_positive"))


@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "i0", "i1"])), min_size=1, max_size=6))
def test_images_without_a_unit_are_never_joined(ids):
    samples = [f"i{k}" for k in range(len(ids))]
    names, blank = unit_names(samples, ids)
    assert blank == sum(not value for value in ids)
    for k, value in enumerate(ids):
        same = [other for other, name in enumerate(names) if name == names[k]]
        assert same == ([other for other, it in enumerate(ids) if it == value] if value else [k])


@pytest.mark.parametrize(
    ("changes", "decision", "message"),
    [
        ({"y_true": ["cat", "dog", "dog", "dog", None]}, PATIENT, r"Got different ones in 1 of 3: p2 \(cat, dog\)"),
        ({"group_id": ["g1", "g1", "g2", "g3", "g1"]}, PATIENT, "Got several groups in 1: p2"),
        ({"patient_id": [None] * 5}, PATIENT, "needs the column patient_id"),
    ],
)
def test_what_cannot_become_units_is_told_without_scores(changes, decision, message):
    """The same refusals as those of the scored table."""
    frame = table(**changes)
    with pytest.raises(DataError, match=message):
        at_unit(Predictions(frame, ("cat", "dog"), "dog"), decision)
    labels = LabelSpace(names=("cat", "dog"), positive="dog")
    references = frame.drop("logit_cat", "logit_dog")
    with pytest.raises(DataError, match=message):
        require_answers(references, labels, decision)
    require_answers(references, labels, Decision())
    require_answers(table().drop("logit_cat", "logit_dog"), labels, decision)
