"""`phantom-cxr`: deterministic, true to its masks, and equal between the classes everywhere but at the finding."""

import cv2
import numpy as np
import pytest

from chiron.core.errors import DataError
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.phantom_set import PhantomSet
from chiron.data.phantoms.planted import Planted

GOLDEN = [
    [88.02, 80.27, 114.41, 95.09],
    [51.01, 87.67, 126.74, 65.74],
    [52.95, 121.26, 162.38, 71.31],
    [83.82, 165.29, 167.03, 94.62],
]


def draw(num_images: int = 16, img_size: int = 48, seed: int = 3, **options) -> PhantomSet:
    return draw_phantom_cxr(num_images=num_images, img_size=img_size, seed=seed, **options)


@pytest.fixture(scope="module")
def mixed() -> PhantomSet:
    return draw(40, 64)


@pytest.fixture(scope="module")
def pair() -> tuple[PhantomSet, PhantomSet]:
    """The same patients and shots, once all normal and once all with an opacity."""
    return draw(24, 96, finding_share=0.0), draw(24, 96, finding_share=1.0)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_patients():
    first, again, other = draw(), draw(), draw(seed=4)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.rows == again.rows
    for name in ("lungs", "finding"):
        assert first.masks[name].tobytes() == again.masks[name].tobytes()
    assert not np.array_equal(first.images[0], other.images[0])
    assert not set(first.patient_ids) & set(other.patient_ids)


@pytest.mark.parametrize("fewer", [1, 7, 15])
def test_an_image_does_not_depend_on_how_many_are_drawn(fewer):
    some, more = draw(fewer), draw(16)
    assert some.rows == more.rows[:fewer]
    np.testing.assert_array_equal(some.images, more.images[:fewer])
    np.testing.assert_array_equal(some.masks["finding"], more.masks["finding"][:fewer])


@pytest.mark.parametrize("img_size", [28, 33, 96, 224])
def test_shapes_and_ranges_at_any_size(img_size):
    phantoms = draw(3, img_size)
    assert phantoms.images.shape == (3, img_size, img_size)
    assert phantoms.images.dtype == np.uint8
    assert len({row.sample_id for row in phantoms.rows}) == len(phantoms) == 3
    for image, lungs in zip(phantoms.images, phantoms.masks["lungs"], strict=True):
        assert np.percentile(image, 99) - np.percentile(image, 1) > 90  # a picture, neither black nor burnt out
        assert set(np.unique(lungs)) == {0, 1}
        assert 0.10 < lungs.mean() < 0.45
        assert image[lungs == 1].mean() < image[lungs == 0][image[lungs == 0] > 40].mean()  # air is dark


def test_anatomy_is_the_same_picture_at_two_sizes():
    small, large = draw(12, 64, finding_share=0.0), draw(12, 128, finding_share=0.0)
    for a, b in zip(small.images, large.images, strict=True):
        shrunk = cv2.resize(b, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(a.ravel(), shrunk.ravel())[0, 1] > 0.98


def test_findings_lie_at_the_same_place_at_two_sizes():
    distances = [
        np.hypot(here.x - there.x, here.y - there.y)
        for a, b in zip(draw(16, 64).rows, draw(16, 128).rows, strict=True)
        for here, there in zip(a.findings, b.findings, strict=True)
    ]
    assert len(distances) > 5
    assert np.median(distances) < 0.005  # a try at the very edge of what is allowed may end otherwise


def test_the_heart_lies_on_the_patients_left(pair):
    lungs = pair[0].masks["lungs"].astype(bool)
    lower = slice(48, 72)
    right, left = lungs[:, lower, :48].sum(), lungs[:, lower, 48:].sum()
    assert left < 0.9 * right  # the heart takes room from the lung on the image's right


def test_both_classes_come_and_a_patient_has_one_label(mixed):
    assert set(mixed.targets) == {0, 1}
    labels = {}
    for row in mixed.rows:
        assert labels.setdefault(row.patient_id, row.label) == row.label
    counts = np.unique(mixed.patient_ids, return_counts=True)[1]
    assert counts.max() > 1
    assert counts.max() <= 4


def test_images_of_a_patient_resemble_each_other_but_differ():
    phantoms = draw(8, 64, images_per_patient=(2, 2), finding_share=0.0)
    lungs = phantoms.masks["lungs"].reshape(4, 2, -1).astype(bool)
    own = [(a & b).sum() / (a | b).sum() for a, b in lungs]
    assert min(own) > 0.5
    for first, second in phantoms.images.reshape(4, 2, 64, 64):
        assert not np.array_equal(first, second)


def test_the_finding_lies_in_the_lungs_and_only_where_the_label_says_so(mixed):
    for row, lungs, finding in zip(mixed.rows, mixed.masks["lungs"], mixed.masks["finding"], strict=True):
        assert not (finding & ~lungs.astype(bool)).any()
        assert bool(finding.any()) == bool(row.findings) == (row.label == "opacity")


def test_the_finding_is_off_center_and_where_the_row_says(pair):
    _, opaque = pair
    for row, mask in zip(opaque.rows, opaque.masks["finding"], strict=True):
        near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        for finding in row.findings:
            assert np.hypot(finding.x - 0.5, finding.y - 0.5) > 0.08
            box = near[round(finding.y * 96) - 6 : round(finding.y * 96) + 7, round(finding.x * 96) - 6 :][:, :13]
            assert box.any()
        middle = np.argwhere(mask).mean(axis=0) / 96 - 0.5
        assert len(row.findings) > 1 or np.hypot(*middle) > 0.1


def test_the_classes_are_equal_pixel_by_pixel_away_from_the_finding(pair):
    normal, opaque = pair
    np.testing.assert_array_equal(normal.masks["lungs"], opaque.masks["lungs"])
    assert [row.params for row in normal.rows] == [row.params for row in opaque.rows]
    assert [row.sample_id for row in normal.rows] == [row.sample_id for row in opaque.rows]
    for a, b, mask in zip(normal.images, opaque.images, opaque.masks["finding"], strict=True):
        away = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
        np.testing.assert_array_equal(a[away], b[away])
        assert b[mask == 1].astype(float).mean() > a[mask == 1].astype(float).mean() + 5  # it is brighter
        for edge in (np.s_[:4], np.s_[-4:], np.s_[:, :4], np.s_[:, -4:]):
            np.testing.assert_array_equal(a[edge], b[edge])


def test_difficulty_lowers_the_contrast_and_the_size_of_the_finding():
    contrast, area, noise = [], [], []
    for difficulty in (0.0, 0.5, 1.0):
        normal = draw(24, 64, difficulty=difficulty, finding_share=0.0)
        opaque = draw(24, 64, difficulty=difficulty, finding_share=1.0)
        mask = opaque.masks["finding"] == 1
        contrast.append((opaque.images[mask].astype(float) - normal.images[mask]).mean())
        area.append(mask.mean())
        noise.append(np.mean([row.params["noise"] for row in opaque.rows]))
    assert contrast[0] > 1.2 * contrast[1] > 1.2**2 * contrast[2] > 0
    assert area[0] > area[1] > area[2] > 0
    assert noise[0] < noise[1] < noise[2]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_finding_share_is_the_share_of_patients(share):
    phantoms = draw(60, 28, finding_share=share, images_per_patient=(1, 1))
    assert phantoms.targets.mean() == pytest.approx(share, abs=0.17)


def test_unplanted_pixels_are_those_that_published_numbers_rest_on():
    """Means over 12 x 12 pixels of the first image of seed 0; another machine may round one pixel otherwise."""
    image = draw(1, 48, 0).images[0].astype(float)
    np.testing.assert_allclose(image.reshape(4, 12, 4, 12).mean(axis=(1, 3)), GOLDEN, atol=0.1)


@pytest.mark.parametrize("shortcut", ["corner_marker", "ruler"])
def test_a_mark_stands_beside_the_lungs_in_images_with_an_opacity(shortcut):
    plain, marked = draw(16, 96), draw(16, 96, planted=Planted(shortcut))
    for row, a, b, lungs in zip(marked.rows, plain.images, marked.images, marked.masks["lungs"], strict=True):
        differs = a != b
        assert row.planted["mark"] == (row.label == "opacity") == differs.any()
        assert not (differs & (lungs == 1)).any()
        assert not differs[:, :86].any()


def test_tone_darkens_the_exposure_of_images_with_an_opacity():
    plain, dark = draw(24, 48), draw(24, 48, planted=Planted("tone"))
    for row, a, b in zip(dark.rows, plain.images, dark.images, strict=True):
        if row.label == "opacity":
            assert b.mean() < a.mean() - 5
        else:
            np.testing.assert_array_equal(a, b)


def test_tone_error_fades_opacities_in_dark_exposures_alone():
    normal = draw(24, 48, finding_share=0.0)
    plain, faded = (draw(24, 48, finding_share=1.0, planted=Planted(tone_error=error)) for error in (0.0, 1.0))
    fades = np.array([row.planted["sign_strength"] for row in faded.rows])
    assert fades.min() < 0.4
    assert (fades == 1).sum() > 3
    for k, kept in enumerate(fades):
        finding = plain.masks["finding"][k] == 1
        base, full, left = (phantoms.images[k][finding].astype(float).mean() for phantoms in (normal, plain, faded))
        assert (left - base) <= (full - base) * (kept + 0.15) + 1
        if kept == 1:
            np.testing.assert_array_equal(plain.images[k], faded.images[k])


def test_label_noise_gives_some_patients_the_other_label_and_changes_no_pixel():
    clean, noisy = draw(30, 28), draw(30, 28, planted=Planted(label_noise=0.5))
    np.testing.assert_array_equal(clean.images, noisy.images)
    assert [row.true_label for row in noisy.rows] == [row.label for row in clean.rows]
    wrong = {row.patient_id: row.label != row.true_label for row in noisy.rows}
    assert all(wrong[row.patient_id] == (row.label != row.true_label) for row in noisy.rows)
    assert 0.1 < np.mean(list(wrong.values())) < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 0}, "at least one image. Got 0"),
        ({"img_size": 27}, "at least 28 pixels wide. Got 27"),
        ({"difficulty": 1.5}, r"difficulty must lie in 0..1. Got 1.5"),
        ({"finding_share": -0.1}, r"finding_share must lie in 0..1. Got -0.1"),
        ({"images_per_patient": (3, 2)}, r"Got \(3, 2\)"),
        ({"images_per_patient": (0, 2)}, r"Got \(0, 2\)"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(DataError, match=message):
        draw(**options)
