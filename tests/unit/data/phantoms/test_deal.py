"""Dealing classes: shares hold closely at any length, rare classes come early, and order tells nothing."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.phantoms.deal import BLOCK, deal_classes, normalized_shares
from chiron.data.phantoms.derm import SHARES


def dealt(count: int, shares=SHARES, seed: int = 0) -> list[str]:
    return list(islice(deal_classes(shares, seed), count))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=7), st.integers(8, 20))
def test_whole_blocks_hold_the_shares_within_about_one_lesion(weights, blocks):
    shares = normalized_shares({f"c{k}": weight for k, weight in enumerate(weights)}, [f"c{k}" for k in range(7)])
    counts = Counter(dealt(blocks * BLOCK, shares))
    for name, share in shares.items():
        # A class whose share is below its three early lesions takes them from the others.
        assert abs(counts[name] - share * blocks * BLOCK) <= max(2.0, 3 - share * blocks * BLOCK + 1) + len(shares) / 2


def test_ham10000_shares_hold_within_one_lesion_in_a_large_set():
    counts = Counter(dealt(3000))
    assert all(abs(counts[name] - share * 3000) <= 1 for name, share in SHARES.items())


@pytest.mark.parametrize("seed", range(5))
def test_every_class_comes_once_in_the_first_block_and_three_times_in_three(seed):
    names = dealt(3 * BLOCK, seed=seed)
    assert set(names[:BLOCK]) == set(SHARES)
    assert min(Counter(names).values()) >= 3


def test_the_order_inside_a_block_is_random_and_longer_deals_only_add():
    assert dealt(120)[:70] == dealt(70)
    assert dealt(BLOCK, seed=1) != dealt(BLOCK, seed=2)
    places = [k % BLOCK for seed in range(40) for k, name in enumerate(dealt(BLOCK, seed=seed)) if name == "mel"]
    assert np.mean(places) == pytest.approx((BLOCK - 1) / 2, abs=4)


def test_classes_without_a_share_never_come():
    assert set(dealt(200, normalized_shares({"mel": 1, "nv": 3}, list(SHARES)))) == {"mel", "nv"}
    assert Counter(dealt(200, {"mel": 0.25, "nv": 0.75})) == {"mel": 50, "nv": 150}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"melanoma": 1.0}, "must name akiec, .*vasc. Got melanoma"),
        ({"mel": -1.0, "nv": 3.0}, "must not be negative"),
        ({"mel": 0.0}, "one must be positive"),
        ({}, "one must be positive"),
    ],
)
def test_shares_that_cannot_be_are_named(asked, message):
    with pytest.raises(DataError, match=message):
        normalized_shares(asked, list(SHARES))
