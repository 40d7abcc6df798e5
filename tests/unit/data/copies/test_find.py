"""Planted copies are confirmed in the right view, different pictures are not, whatever the order and the repeats."""

import numpy as np
import pytest
from textures import brightened, cropped, halved, texture, through_jpeg

from chiron.core.errors import DataError
from chiron.data.copies.candidates import Candidate
from chiron.data.copies.find import CONFIRMED_FROM, ScoredPair, find_copies, grade
from chiron.data.copies.thumbnail import thumbnail

ORIGINALS = 40
COPIES = {
    "re-encoded": (3, lambda image: through_jpeg(image, 30), "upright"),
    "half size": (5, halved, "upright"),
    "brighter": (8, lambda image: brightened(image, 1.2), "upright"),
    "darker": (11, lambda image: brightened(image, 0.8), "upright"),
    "mirrored": (14, lambda image: image[:, ::-1], "mirrored"),
    "upside down": (17, lambda image: image[::-1], "mirrored and rotated 180"),
    "half turn": (20, lambda image: image[::-1, ::-1], "rotated 180"),
    "quarter turn": (23, lambda image: np.rot90(image, 3), "rotated 90"),
    "cropped": (26, lambda image: cropped(image, 0.3, 0.8), "upright"),
    "cropped and mirrored": (29, lambda image: cropped(image, 1, 0)[:, ::-1], "mirrored"),
}


@pytest.fixture(scope="module")
def planted() -> tuple[list[str], list[np.ndarray]]:
    images = [texture(seed, height=144, width=192) for seed in range(ORIGINALS)]
    copies = [through_jpeg(np.ascontiguousarray(change(images[k])), 90) for k, change, _ in COPIES.values()]
    return [*(f"{k:02d}" for k in range(ORIGINALS)), *COPIES], images + copies


def found_in(ids: list[str], images: list[np.ndarray]):
    return find_copies(ids, np.stack([thumbnail(image) for image in images]), images.__getitem__)


@pytest.fixture(scope="module")
def found(planted):
    return found_in(*planted)


def test_planted_copies_are_confirmed_and_nothing_else(found):
    confirmed = {pair.sample_ids: pair.view for pair in found if pair.confirmed}
    assert confirmed == {(f"{source:02d}", name): view for name, (source, _, view) in COPIES.items()}
    assert all(CONFIRMED_FROM <= pair.score <= 1 for pair in found if pair.confirmed)


def test_order_of_rows_does_not_matter(planted, found):
    ids, images = planted
    order = np.random.default_rng(5).permutation(len(ids))
    assert found_in([ids[k] for k in order], [images[k] for k in order]) == found


def test_other_ids_find_the_same_pairs(planted, found):
    """As in projects that hide names, where every search has ids of its own."""
    ids, images = planted
    rng = np.random.default_rng(6)
    for _ in range(3):
        hidden = dict(zip(rng.permutation([f"s-{k:03d}" for k in range(len(ids))]).tolist(), ids, strict=True))
        told = {frozenset(hidden[name] for name in pair.sample_ids): pair for pair in found_in(list(hidden), images)}
        assert {frozenset(pair.sample_ids) for pair in found} == set(told)
        for pair in found:
            again = told[frozenset(pair.sample_ids)]
            assert (again.score, again.confirmed) == (pair.score, pair.confirmed)
            if pair.sample_ids == tuple(hidden[name] for name in again.sample_ids):
                assert again.view == pair.view


def test_each_image_is_loaded_at_most_once():
    ids, images = list("abcdefgh"), [texture(seed) for seed in range(8)]
    loaded = []

    def load(row: int) -> np.ndarray:
        loaded.append(row)
        return images[row]

    find_copies(ids, np.stack([thumbnail(image) for image in images]), load)
    assert sorted(loaded) == list(range(8))


def test_an_image_that_is_there_a_thousand_times_gives_a_chain():
    images = [texture(0, height=70, width=70)] * 1000 + [texture(k, height=70, width=70) for k in range(1, 4)]
    pairs = found_in([f"{k:04d}" for k in range(len(images))], images)
    assert [pair.sample_ids for pair in pairs] == [(f"{k:04d}", f"{k + 1:04d}") for k in range(999)]
    assert {(pair.score, pair.confirmed, pair.view) for pair in pairs} == {(1.0, True, "upright")}


def test_blank_images_are_no_copies():
    images = [np.full((80, 80, 1), k % 7 * 30, np.uint8) for k in range(500)]
    assert found_in([f"{k:03d}" for k in range(500)], images) == []


def test_depth_and_channels_do_not_matter():
    gray = [texture(seed, channels=1) for seed in range(6)]
    deep = gray[2].astype(np.uint16) * 257
    (pair,) = (pair for pair in found_in([*"abcdef", "x"], [*gray, deep]) if pair.confirmed)
    assert pair.sample_ids == ("c", "x")


def test_suspects_are_few_and_the_most_alike():
    ids = [f"{k:03d}" for k in range(100)]
    scored = [ScoredPair(Candidate(k, k + 1, 0), 0.5 + k / 400) for k in range(99)]
    pairs = grade(ids, [*scored, ScoredPair(Candidate(0, 2, 4), CONFIRMED_FROM)])
    assert [pair.sample_ids for pair in pairs] == [("000", "002"), ("098", "099"), ("097", "098")]
    assert [pair.confirmed for pair in pairs] == [True, False, False]


def test_a_pair_that_is_not_sure_must_stand_out():
    ids = [f"{k}" for k in range(6)]

    def graded(*rows: tuple[int, int, float]) -> list[tuple[str, str]]:
        pairs = grade(ids, [ScoredPair(Candidate(a, b, 0), score) for a, b, score in rows])
        return [pair.sample_ids for pair in pairs if pair.confirmed]

    assert graded((0, 1, 0.85), (0, 2, 0.69)) == [("0", "1")]
    assert graded((0, 1, 0.85), (0, 2, 0.71)) == []
    assert graded((0, 1, 0.85), (1, 2, 0.71)) == []  # of either image
    assert graded((0, 1, 0.85), (0, 2, 0.95)) == [("0", "2"), ("0", "1")]  # a sure copy is no rival
    assert graded((0, 1, 0.91), (0, 2, 0.92)) == [("0", "2"), ("0", "1")]
    assert graded((0, 1, 0.79)) == []


def test_no_image_and_one_image():
    assert find_copies([], np.zeros((0, 16, 16, 3), np.uint8), lambda row: texture(row)) == []
    assert found_in(["a"], [texture(0)]) == []


def test_a_broken_image_is_told():
    def load(row: int) -> np.ndarray:
        raise DataError(f"Row {row} must decode.")

    images = [texture(seed) for seed in range(3)]
    with pytest.raises(DataError, match="must decode"):
        find_copies(["a", "b", "c"], np.stack([thumbnail(image) for image in images]), load)
