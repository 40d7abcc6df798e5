"""Logits of images become logits of units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from chiron.core.errors import DecisionError
from chiron.decide.combine import combine_logits


def naive(logits, unit_index, rule, several, positive_index):
    """One unit after the other, by the words of the rule."""
    rows = []
    for unit in range(unit_index.max() + 1):
        own = logits[unit_index == unit].astype(np.float64)
        if rule == "mean_logit":
            rows.append(own.mean(axis=0))
        elif rule == "mean_prob":
            rows.append(
                special.logit(special.expit(own).mean(axis=0))
                if several
                else np.log(special.softmax(own, axis=1).mean(axis=0))
            )
        elif several:
            rows.append(own.max(axis=0))
        else:
            rows.append(max(own, key=lambda row: row[positive_index] - row[1 - positive_index]))
    return np.array(rows)


@pytest.mark.parametrize(
    ("rule", "several", "classes"),
    [
        ("mean_logit", False, 4),
        ("mean_logit", True, 3),
        ("mean_prob", False, 4),
        ("mean_prob", True, 3),
        ("max_prob", True, 3),
        ("max_prob", False, 2),
    ],
)
def test_each_rule_is_what_a_loop_gives(random, rule, several, classes):
    unit_index = np.concatenate([np.arange(9), random.integers(0, 9, 21)])
    logits = random.normal(size=(30, classes)) * 3
    found = combine_logits(logits, unit_index, rule, several=several, positive_index=1)
    wanted = naive(logits, unit_index, rule, several, 1)
    if not several:  # what all logits of a row share says nothing
        found, wanted = special.log_softmax(found, axis=1), special.log_softmax(wanted, axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@given(
    seed=st.integers(0, 10_000), rule=st.sampled_from(["mean_logit", "mean_prob", "max_prob"]), several=st.booleans()
)
def test_one_image_a_unit_is_kept_to_the_byte_and_order_plays_no_part(seed, rule, several):
    random = np.random.default_rng(seed)
    logits = (random.normal(size=(7, 2)) * 40).astype(np.float32)
    alone = random.permutation(7)
    kept = combine_logits(logits, alone, rule, several=several, positive_index=0)
    assert kept.dtype == np.float32
    assert kept[alone].tobytes() == logits.tobytes()
    unit_index = np.append(random.permutation(3), random.integers(0, 3, 4))
    whole = combine_logits(logits, unit_index, rule, several=several, positive_index=0)
    order = random.permutation(7)
    shuffled = combine_logits(logits[order], unit_index[order], rule, several=several, positive_index=0)
    assert whole.tobytes() == shuffled.tobytes()


def test_large_logits_neither_overflow_nor_vanish():
    logits = np.array([[900.0, -900.0], [800.0, -800.0]])
    for several in (False, True):
        found = combine_logits(logits, np.zeros(2, dtype=np.int64), "mean_prob", several=several)
        assert np.isfinite(found).all()
    assert found[0, 0] == pytest.approx(800 + np.log(2))


def test_what_cannot_be_combined_is_told():
    logits = np.zeros((3, 3))
    with pytest.raises(DecisionError, match=r"max_prob needs two classes with a positive one.*Got 3 classes"):
        combine_logits(logits, np.arange(3), "max_prob", several=False)
    with pytest.raises(DecisionError, match="needs two classes with a positive one"):
        combine_logits(logits[:, :2], np.arange(3), "max_prob", several=False)
    with pytest.raises(DecisionError, match=r"every unit an image.*1 units without one"):
        combine_logits(logits, np.array([0, 0, 2]), "mean_logit", several=False)
