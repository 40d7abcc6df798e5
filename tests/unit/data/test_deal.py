"""Dealing groups to parts: as good as it can be up to one group, and even where parts are equal."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chiron.core.hashing import keyed_hash, sha256_bytes
from chiron.data.deal import Deal, class_counts
from chiron.data.manifest import Manifest


def of_counts(counts: np.ndarray) -> Manifest:
    """A manifest with `counts[g, c]` images of class c in group g."""
    rows = [(f"g{g}", "abc"[c]) for g, c in np.ndindex(*counts.shape) for _ in range(counts[g, c])]
    frame = pl.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(len(rows))],
            "path": [f"{k}.png" for k in range(len(rows))],
            "group_id": [group for group, _ in rows],
            "label": [label for _, label in rows],
        }
    )
    return Manifest(frame, tuple("abc"[: counts.shape[1]]), Path("."), "manifest")


@st.composite
def small_cases(draw):
    """Up to seven groups of up to five images of two classes."""
    num_groups = draw(st.integers(4, 7))
    counts = np.zeros((num_groups, 2), int)
    for group in range(num_groups):
        counts[group, group % 2] = draw(st.integers(1, 5))
        if draw(st.integers(0, 3)) == 0:
            counts[group, 1 - group % 2] = draw(st.integers(1, 3))
    return counts


@given(small_cases(), st.sampled_from([(0.7, 0.3), (0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3)]), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_counts_are_within_one_group_of_the_best_of_all_deals(counts, shares, seed):
    manifest = of_counts(counts)
    deal = Deal.of(manifest, manifest.frame, np.array(shares), seed)
    part_of = dict(zip(deal.groups, deal.solve(), strict=True))
    assert set(part_of) == {f"g{g}" for g in range(len(counts))}
    want = np.array(shares)[:, None] * counts.sum(axis=0)

    def distance(parts) -> tuple[bool, float]:
        """Whether a part lacks a class, and the largest distance of a count of images from its share."""
        inside = np.equal.outer(np.arange(len(shares)), parts).astype(int)
        return bool((inside @ (counts > 0) == 0).any()), float(np.abs(inside @ counts - want).max())

    lacks, mine = distance([part_of[f"g{g}"] for g in range(len(counts))])
    best_lacks, best = min(map(distance, itertools.product(range(len(shares)), repeat=len(counts))))
    assume(lacks == best_lacks)  # when none can be found, that is refused; see test_folds and test_split
    assert mine <= best + counts.max()


@given(st.lists(st.integers(2, 40), min_size=1, max_size=3), st.integers(2, 6), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_equal_parts_of_single_images_are_even_in_every_class_and_in_all(sizes, parts, seed):
    counts = np.repeat(np.eye(len(sizes), dtype=int), sizes, axis=0)
    manifest = of_counts(counts)
    deal = Deal.of(manifest, manifest.frame, np.full(parts, 1 / parts), seed)
    inside = np.equal.outer(np.arange(parts), deal.solve()).astype(int)
    have = inside @ deal.shows
    assert (have.sum(axis=0) == sizes).all()
    assert (np.ptp(have, axis=0) <= 1).all()
    assert np.ptp(have.sum(axis=1)) <= max(1, len(sizes) - 1)


def test_a_row_counts_for_the_classes_that_it_shows():
    manifest = of_counts(np.array([[2, 0, 1]]))
    np.testing.assert_array_equal(class_counts(manifest, manifest.frame), [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


def test_ids_of_another_project_deal_the_same_images_alike():
    manifest = of_counts(np.array([[2, 0], [0, 2], [2, 0], [0, 2], [2, 0], [0, 2], [1, 0], [0, 1], [1, 0], [0, 1]]))
    digests = [sha256_bytes(str(k).encode()) for k in range(manifest.frame.height)]
    frame = manifest.frame.with_columns(pl.Series("pixels_sha256", digests))
    dealt = []
    for key in (b"one", b"other"):
        keyed = {name: f"g-d-{keyed_hash(key, name)}" for name in frame["group_id"].unique()}
        there = frame.with_columns(pl.col("group_id").replace_strict(keyed)).sort("group_id")
        deal = Deal.of(replace(manifest, frame=there), there, np.array([0.6, 0.2, 0.2]), seed=0)
        part_of = dict(zip(deal.groups, deal.solve(), strict=True))
        dealt.append({name: part_of[hidden] for name, hidden in keyed.items()})
    assert dealt[0] == dealt[1]
    assert len(set(dealt[0].values())) == 3
