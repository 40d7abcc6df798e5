import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.preprocess.lung_mask import cut_of, lung_mask


@pytest.fixture(scope="module")
def chests():
    return draw_phantom_cxr(num_images=24, img_size=128, seed=11)


def overlap(mask, true):
    return (mask & true).sum() / (mask | true).sum()


def test_lungs_of_phantom_chests_are_found(chests):
    """Intersection over union with the true lung fields: 0.79 on average here (0.81 over 100 chests at 192 px)."""
    found = [lung_mask(image[..., None]) for image in chests.images]
    overlaps = [overlap(item.mask, true) for item, true in zip(found, chests.masks["lungs"], strict=True)]
    assert np.mean(overlaps) > 0.75
    assert min(overlaps) > 0.5
    assert sum(item.is_fallback for item in found) <= 1


def test_cut_lies_between_the_lungs(chests):
    """In most chests; where one lung is hardly found the cut moves toward the other."""
    found = [lung_mask(image[..., None]) for image in chests.images]
    away = [abs(item.cut - cut_of(true)) for item, true in zip(found, chests.masks["lungs"], strict=True)]
    assert np.median(away) < 0.03
    assert np.quantile(away, 0.9) < 0.12
    for item in found:
        left, right = item.image_left, item.image_right
        np.testing.assert_array_equal(left + right, item.mask)
        assert left[:, int(item.cut * 128) + 1 :].sum() == 0
        assert right[:, : int(item.cut * 128) - 1].sum() == 0


def test_mirrored_chest_has_a_mirrored_mask(chests):
    for image in chests.images[:6]:
        plain, mirrored = lung_mask(image[..., None]), lung_mask(np.ascontiguousarray(image[:, ::-1, None]))
        assert overlap(plain.mask, mirrored.mask[:, ::-1]) > 0.8
        assert mirrored.cut == pytest.approx(1 - plain.cut, abs=0.03)


def test_depth_color_range_and_repetition_change_nothing(chests):
    image = chests.images[0][..., None]
    plain = lung_mask(image)
    np.testing.assert_array_equal(lung_mask(image).mask, plain.mask)
    np.testing.assert_array_equal(lung_mask(np.repeat(image, 3, axis=2)).mask, plain.mask)
    np.testing.assert_array_equal(lung_mask(image.astype(np.uint16) * 257).mask, plain.mask)
    narrow = image.astype(np.uint16) * 11 + 900  # a detector's 12 bits in 16
    assert overlap(lung_mask(narrow).mask, plain.mask) > 0.98


@pytest.mark.parametrize("value", [0, 127, 255])
def test_constant_image_falls_back_to_two_boxes(value):
    found = lung_mask(np.full((60, 80, 1), value, np.uint8))
    assert found.is_fallback
    assert found.cut == pytest.approx(0.5, abs=0.01)
    expected = np.zeros((60, 80), np.uint8)
    expected[9:51, 8:36] = expected[9:51, 44:72] = 1
    assert overlap(found.mask, expected) > 0.95


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
    depth=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([1, 2, 256]),
)
def test_never_raises_on_a_canonical_image(shape, depth, seed, levels):
    random = np.random.default_rng(seed)
    top = np.iinfo(depth).max
    image = (random.integers(0, levels, shape) * (top // max(levels - 1, 1))).astype(depth)
    found = lung_mask(image)
    assert found.mask.shape == shape[:2]
    assert found.mask.dtype == np.uint8
    assert set(np.unique(found.mask)) <= {0, 1}
    assert 0.25 <= found.cut <= 0.75


def test_cut_is_clipped_and_an_empty_mask_is_cut_in_the_middle():
    mask = np.zeros((10, 20), np.uint8)
    assert cut_of(mask) == 0.5
    mask[:, 0] = 1
    assert cut_of(mask) == 0.25
    mask[:, 0], mask[:, 19] = 0, 1
    assert cut_of(mask) == 0.75
    mask[:] = 0
    mask[:, 8:10] = 1
    assert cut_of(mask) == pytest.approx(0.45)


@pytest.mark.realdata
def test_lungs_of_most_real_chests_are_found(real_data):
    """Every 12th image of the subset: the share that falls back was 0.09 over all 1,225."""
    from chiron.data.source import ImageSource

    source = ImageSource(real_data / "kermany_subset")
    names = [name for name in source.names() if name.endswith((".jpeg", ".jpg"))][::12]
    found = [lung_mask(source.decode(name)) for name in names]
    assert len(found) > 90
    assert np.mean([item.is_fallback for item in found]) < 0.2
