"""The dials: marks follow the class and labels are wrong as often as asked, signs fade as far as asked."""

import numpy as np
import pytest

from chiron.core.errors import DataError
from chiron.data.phantoms.canvas import generator_of
from chiron.data.phantoms.planted import BASE_RATE, NOTHING_PLANTED, SHORTCUTS, Mark, Planted


def marks(planted: Planted, *, is_of_interest: bool, count: int = 2000) -> list[Mark]:
    return [planted.draw_mark(generator_of("test", k), is_of_interest=is_of_interest) for k in range(count)]


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_a_mark_follows_the_class_with_its_strength(strength):
    planted = Planted("ruler", strength)
    of_interest, others = marks(planted, is_of_interest=True), marks(planted, is_of_interest=False)
    assert np.mean([mark.follows_class for mark in of_interest]) == pytest.approx(strength, abs=0.04)
    assert all(mark.present for mark in of_interest if mark.follows_class)
    assert not any(mark.present for mark in others if mark.follows_class)
    at_random = BASE_RATE * (1 - strength)
    assert np.mean([mark.present for mark in of_interest]) == pytest.approx(strength + at_random, abs=0.04)
    assert np.mean([mark.present for mark in others]) == pytest.approx(at_random, abs=0.04)


def test_nothing_planted_is_no_mark_no_wrong_label_and_full_signs():
    assert not any(mark.present or mark.follows_class for mark in marks(NOTHING_PLANTED, is_of_interest=True))
    labels = {NOTHING_PLANTED.draw_label(generator_of(k), "mel", {"mel": 0.5, "nv": 0.5}) for k in range(300)}
    assert labels == {"mel"}
    assert NOTHING_PLANTED.sign_strength(1.0) == 1.0


def test_wrong_labels_come_as_often_as_asked_and_by_the_shares_of_the_others():
    shares = {"a": 0.5, "b": 0.4, "c": 0.1, "never": 0.0}
    given = [Planted(label_noise=0.3).draw_label(generator_of(k), "a", shares) for k in range(4000)]
    assert given.count("a") / 4000 == pytest.approx(0.7, abs=0.03)
    assert given.count("b") / 4000 == pytest.approx(0.24, abs=0.03)
    assert given.count("c") / 4000 == pytest.approx(0.06, abs=0.02)
    assert "never" not in given


def test_a_set_of_one_class_can_hold_no_wrong_label():
    assert Planted(label_noise=1.0).draw_label(generator_of(0), "a", {"a": 1.0, "b": 0.0}) == "a"


def test_signs_fade_with_darkness_in_proportion_to_the_dial():
    assert [Planted(tone_error=0.5).sign_strength(darkness) for darkness in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "ruller"}, f"one of {', '.join(SHORTCUTS)}. Got 'ruller'. Did you mean 'ruler'"),
        ({"shortcut_strength": 0.5}, "must come with a shortcut. Got 0.5"),
        ({"shortcut": "tone", "shortcut_strength": 1.5}, r"shortcut_strength must lie in 0..1. Got 1.5"),
        ({"label_noise": -0.1}, r"label_noise must lie in 0..1. Got -0.1"),
        ({"tone_error": 2.0}, r"tone_error must lie in 0..1. Got 2.0"),
    ],
)
def test_dials_out_of_range_are_named(options, message):
    with pytest.raises(DataError, match=message):
        Planted(**options)
