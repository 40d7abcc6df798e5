"""The look of a picture: the same for copies, another for another scene; near ones found as counting finds them."""

import cv2
import numpy as np
import pytest

from chiron.data.copies.look_hash import NEAR, look_hash, near_looks
from chiron.data.copies.thumbnail import thumbnail


def scene(seed: int, side: int = 160) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (12, 12, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def bits_apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


COPIES = {
    "reencoded": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1),
    "smaller": lambda image: cv2.resize(image, (70, 70), interpolation=cv2.INTER_AREA),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_have_near_looks(kind):
    apart = [
        bits_apart(look_hash(thumbnail(scene(k))), look_hash(thumbnail(COPIES[kind](scene(k))))) for k in range(40)
    ]
    assert np.mean(np.array(apart) <= NEAR) >= 0.95


def test_other_scenes_have_other_looks():
    looks = [look_hash(thumbnail(scene(k))) for k in range(60)]
    assert min(bits_apart(a, b) for k, a in enumerate(looks) for b in looks[:k]) > 5 * NEAR


def test_a_blank_picture_has_no_look():
    assert look_hash(np.full((16, 16, 3), 90, np.uint8)) is None


def test_the_nearest_is_found_as_counting_finds_it(random):
    looks = np.array([f"{int(value):016x}" for value in random.integers(0, 2**62, 40)])
    others = np.array([f"{int(look, 16) ^ (2**k - 1):016x}" for k, look in enumerate(looks[:8])])
    found = near_looks(looks, others, block=7)
    assert found.tolist() == [0, 1, 2, *[-1] * 37]  # k bits apart
    assert near_looks(looks, np.array([])).tolist() == [-1] * 40
