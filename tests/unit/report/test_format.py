"""Numbers as readers see them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from chiron.report import format as formats

ESTIMATE = {"value": 0.94449, "low": 0.918, "high": 0.9592, "method": "Wilson", "note": None}


def plain(text):
    return text.replace(formats.NBSP, " ")


def test_estimate_has_value_level_and_limits():
    assert plain(formats.estimate_text(ESTIMATE)) == "0.944 (95 % CI 0.918–0.959)"
    assert plain(formats.estimate_text(ESTIMATE, 0.9)) == "0.944 (90 % CI 0.918–0.959)"


def test_undefined_value_gives_its_reason():
    assert formats.estimate_text({"value": None, "note": "class 'df' has no image"}) == (
        "not defined: class 'df' has no image"
    )
    assert formats.estimate_text({"value": float("nan"), "note": None}) == "not defined: no reason stored"


def test_value_without_interval_gives_the_reason():
    text = formats.estimate_text({"value": 0.5, "low": None, "high": None, "note": "2 of 10 cases needed"})
    assert text == "0.500 (no interval: 2 of 10 cases needed)"


def test_limits_with_a_minus_sign_are_joined_by_a_word():
    assert formats.spread(-0.02, -0.01) == "−0.020 to −0.010"


def test_counts_shares_and_spans():
    assert formats.count(1234567) == "1,234,567"
    assert plain(formats.percent(0.08125)) == "8.1 %"
    assert plain(formats.plural(1, "class", "classes")) == "1 class"
    assert plain(formats.plural(0, "image")) == "0 images"
    assert plain(formats.seconds(3599.9)) == "1 h 0 min"
    assert formats.listed(["a"]) == "a"
    assert formats.listed(["a", "b", "c", "d"], most=2) == "a, b and 2 more"


@given(st.floats(-10, 10))
def test_number_is_the_rounded_value_and_never_minus_zero(value):
    text = formats.number(value)
    assert re.fullmatch(r"−?\d+\.\d{3}", text)
    assert text != "−0.000"
    assert abs(float(text.replace("−", "-")) - value) <= 0.0005 + 1e-12
