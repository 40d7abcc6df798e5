"""Sentences put together from numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.report import sentences


def two_class(counts):
    return {"positive_class": "yes", "confusion_matrix": {"labels": ["no", "yes"], "counts": counts}}


def test_per_thousand_golden():
    found = sentences.per_thousand(two_class([[180, 20], [10, 90]]))
    assert found == [("found", 300), ("missed", 33), ("falsely alarmed", 67), ("rightly negative", 600)]


@given(st.lists(st.integers(0, 5000), min_size=4, max_size=4).filter(any))
def test_per_thousand_adds_up(counts):
    found = sentences.per_thousand(two_class([counts[:2], counts[2:]]))
    assert sum(number for _, number in found) == 1000
    for (_, number), cell in zip(found, (counts[3], counts[2], counts[1], counts[0]), strict=True):
        assert abs(number - 1000 * cell / sum(counts)) < 1


def test_per_thousand_needs_a_positive_class(seven):
    assert sentences.per_thousand(seven) == []


def test_question_names_every_class(binary, seven):
    assert sentences.question(binary) == "Tells opacity (the positive class) from normal, one image at a time."
    assert sentences.question(seven).endswith("akiec, bcc, bkl, df, mel, nv and vasc.")


@pytest.mark.parametrize(
    ("confidence", "accuracy", "ending"),
    [
        (0.9, 0.7, "overconfident (mean confidence 0.900, 0.700 right)."),
        (0.6, 0.8, "underconfident (mean confidence 0.600, 0.800 right)."),
    ],
)
def test_calibration_tells_the_direction(confidence, accuracy, ending):
    bins = [{"count": 10, "confidence": confidence, "accuracy": accuracy}, {"count": 0, "confidence": None}]
    stored = {"ece": 0.2, "ece_bias_corrected": 0.19, "consistency_band": [0.01, 0.05], "bins": bins}
    text = sentences.calibration({"calibration": stored})
    assert "ECE) 0.200 (0.190 after correction for bias)" in text
    assert "0.010–0.050" in text
    assert text.endswith(ending)


def test_calibration_inside_the_band_is_no_sign_of_error():
    stored = {"ece": 0.03, "consistency_band": [0.01, 0.05], "bins": []}
    assert "no sign of miscalibration" in sentences.calibration({"calibration": stored})


def test_unknown_looks_are_never_printed_as_one(context_of):
    assert sentences.looks(context_of(test_looks=1)) == "Number of looks at these images: 1."
    for looks in ("unknown", None, 0):
        assert sentences.looks(context_of(test_looks=looks)) == "Number of looks at these images: unknown."
    assert sentences.looks(context_of(split_scored="val", test_looks=None)) == ""
