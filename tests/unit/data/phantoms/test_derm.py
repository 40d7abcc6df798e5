"""`phantom-derm`: deterministic, true to its masks, and equal between the classes everywhere but at the lesion."""

from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest

from chiron.core.errors import DataError
from chiron.data.phantoms.canvas import generator_of
from chiron.data.phantoms.derm import CLASSES, SHARES, draw_phantom_derm
from chiron.data.phantoms.phantom_set import PhantomSet
from chiron.data.phantoms.planted import Planted
from chiron.data.phantoms.signs import draw_signs
from chiron.data.phantoms.skin import fitzpatrick_of


def draw(num_images: int = 12, img_size: int = 48, seed: int = 3, **options) -> PhantomSet:
    return draw_phantom_derm(num_images=num_images, img_size=img_size, seed=seed, **options)


def all_of(label: str, num_images: int = 12, img_size: int = 64, **options) -> PhantomSet:
    return draw(num_images, img_size, class_shares={label: 1.0}, **options)


@pytest.fixture(scope="module")
def mixed() -> PhantomSet:
    return draw(90, 28)


@pytest.fixture(scope="module")
def versions() -> dict[str, PhantomSet]:
    """The same patients, skin and shots, each time with lesions of another class."""
    return {label: all_of(label, difficulty=0.0) for label in CLASSES}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_patients():
    first, again, other = draw(), draw(), draw(seed=4)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.rows == again.rows
    for name in ("lesion", "hair"):
        assert first.masks[name].tobytes() == again.masks[name].tobytes()
    assert not np.array_equal(first.images[0], other.images[0])
    assert not set(first.patient_ids) & set(other.patient_ids)


@pytest.mark.parametrize("fewer", [1, 7, 11])
def test_an_image_does_not_depend_on_how_many_are_drawn(fewer):
    some, more = draw(fewer), draw(12)
    assert some.rows == more.rows[:fewer]
    np.testing.assert_array_equal(some.images, more.images[:fewer])
    np.testing.assert_array_equal(some.masks["hair"], more.masks["hair"][:fewer])


@pytest.mark.parametrize("img_size", [28, 33, 96, 224])
def test_shapes_and_ranges_at_any_size(img_size):
    phantoms = draw(3, img_size)
    assert phantoms.images.shape == (3, img_size, img_size, 3)
    assert phantoms.images.dtype == np.uint8
    for image, lesion in zip(phantoms.images, phantoms.masks["lesion"], strict=True):
        assert image.std() > 8
        assert set(np.unique(lesion)) == {0, 1}
        assert 0.02 < lesion.mean() < 0.6


def test_a_lesion_is_the_same_picture_at_two_sizes():
    small, large = draw(10, 64, difficulty=0.0), draw(10, 128, difficulty=0.0)
    assert [row.findings[0].kind for row in small.rows] == [row.findings[0].kind for row in large.rows]
    for a, b in zip(small.images, large.images, strict=True):
        shrunk = cv2.resize(b, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(a.ravel(), shrunk.ravel())[0, 1] > 0.96
    for a, b in zip(small.masks["lesion"], large.masks["lesion"], strict=True):
        assert (a != cv2.resize(b, (64, 64), interpolation=cv2.INTER_NEAREST)).mean() < 0.03


@pytest.mark.parametrize("label", [name for name in CLASSES if name != "nv"])
def test_the_classes_are_equal_pixel_by_pixel_away_from_the_lesion(versions, label):
    nevi, others = versions["nv"], versions[label]
    assert [row.params for row in nevi.rows] == [row.params for row in others.rows]
    assert [row.metadata for row in nevi.rows] == [row.metadata for row in others.rows]
    assert [row.sample_id for row in nevi.rows] == [row.sample_id for row in others.rows]
    np.testing.assert_array_equal(nevi.masks["hair"], others.masks["hair"])
    inside = 0.0
    for k, (a, b) in enumerate(zip(nevi.images, others.images, strict=True)):
        reached = nevi.masks["lesion"][k] | others.masks["lesion"][k]
        away = cv2.dilate(reached, np.ones((5, 5), np.uint8)) == 0
        assert 0.2 < away.mean() < 0.98
        np.testing.assert_array_equal(a[away], b[away])
        inside += np.abs(a[reached == 1].astype(int) - b[reached == 1]).mean()
    assert inside / len(nevi) > 5  # and they do differ where they may


@pytest.mark.parametrize("label", CLASSES)
def test_no_lesion_touches_border_or_corner(versions, label):
    frame = np.ones((64, 64), bool)
    frame[2:-2, 2:-2] = False
    assert not versions[label].masks["lesion"][:, frame].any()
    large = all_of(label, 30, 28, difficulty=1.0).masks["lesion"]
    assert not large[:, [0, -1]].any()
    assert not large[:, :, [0, -1]].any()


def test_classes_show_their_signs(versions):
    """Means over the lesion's pixels that a dermatologist would expect to differ; RGB."""
    colors = {}
    for label, phantoms in versions.items():
        lesion = phantoms.masks["lesion"] == 1
        colors[label] = phantoms.images[lesion].astype(float).mean(axis=0)
        kinds = {finding.kind for row in phantoms.rows for finding in row.findings}
        own = {"akiec": "scale", "bcc": "vessels", "bkl": "comedones", "df": "scar", "mel": "veil", "nv": "network"}
        assert own.get(label, "lacunae") in kinds
        assert ("veil" in kinds) == (label == "mel")
    redness = {label: color[0] - color[1] for label, color in colors.items()}
    assert min(redness["vasc"], redness["akiec"]) > max(redness["nv"], redness["mel"], redness["bkl"])
    assert min(colors["df"].sum(), colors["bcc"].sum()) > max(colors["nv"].sum(), colors["mel"].sum())


def test_shares_of_a_set_of_some_hundred_images(mixed):
    lesions = {row.unit_id: row.true_label for row in mixed.rows}
    counts = Counter(lesions.values())
    assert set(counts) == set(CLASSES)
    for name, share in SHARES.items():
        assert abs(counts[name] / len(lesions) - share) < 0.05


def test_patients_lesions_and_images(mixed):
    patients, labels, about = {}, {}, {}
    for row in mixed.rows:
        assert patients.setdefault(row.unit_id, row.patient_id) == row.patient_id
        assert labels.setdefault(row.unit_id, row.label) == row.label
        known = (row.metadata["age"], row.metadata["sex"], row.metadata["skin_tone"])
        assert about.setdefault(row.patient_id, known) == known
        assert row.metadata["fitzpatrick"] == fitzpatrick_of(row.metadata["skin_tone"])
    assert max(Counter(patients.values()).values()) > 1  # several lesions of a patient
    assert max(Counter(row.unit_id for row in mixed.rows).values()) == 3
    assert len({row.sample_id for row in mixed.rows}) == len(mixed)
    assert len({tone for *_, tone in about.values()}) > 40
    assert {row.metadata["fitzpatrick"] for row in mixed.rows} >= {"I", "II", "III", "IV"}


@pytest.mark.parametrize(("tone", "kind"), [(0.0, "I"), (0.12, "II"), (0.5, "IV"), (0.79, "V"), (1.0, "VI")])
def test_tone_as_fitzpatrick_type(tone, kind):
    assert fitzpatrick_of(tone) == kind


def test_dark_skin_is_dark_and_hairs_are_where_the_mask_says(mixed):
    tone = np.array([row.metadata["skin_tone"] for row in mixed.rows])
    seen = mixed.images[:, 6:-6, 6:-6].mean(axis=(1, 2, 3))
    assert np.corrcoef(tone, seen)[0, 1] < -0.4
    large = draw(20, 96)
    hair, skin = large.masks["hair"] == 1, large.masks["lesion"] == 0
    light = np.array([row.metadata["skin_tone"] < 0.4 for row in large.rows])
    assert [bool(mask.any()) for mask in hair] == [row.params["hairs"] > 0 for row in large.rows]
    brightness = large.images.astype(float).mean(axis=-1)
    assert brightness[light][hair[light]].mean() < brightness[light][(skin & ~hair)[light]].mean() - 20


def test_images_of_a_lesion_are_other_pictures_of_the_same(mixed):
    of_lesion = defaultdict(list)
    for k, row in enumerate(mixed.rows):
        of_lesion[row.unit_id].append(k)
    pairs = [(places[0], other) for places in of_lesion.values() for other in places[1:]]
    assert len(pairs) > 10
    for a, b in pairs:
        assert not np.array_equal(mixed.images[a], mixed.images[b])
        signs = [[(finding.kind, finding.strength) for finding in mixed.rows[k].findings] for k in (a, b)]
        assert signs[0] == signs[1]
        areas = [mixed.masks["lesion"][k].sum() / mixed.rows[k].params["zoom"] ** 2 for k in (a, b)]
        assert areas[0] == pytest.approx(areas[1], rel=0.25)


def test_unclear_lesions_come_with_difficulty():
    """Melanomas lose what sets them apart from nevi, and nevi get some of it."""

    def blotch(label: str, difficulty: float) -> float:
        drawn = [draw_signs(label, generator_of(k), difficulty=difficulty, kept=1.0) for k in range(300)]
        return float(np.mean([signs.blotch for signs in drawn]))

    of_melanoma = [blotch("mel", difficulty) for difficulty in (0.0, 0.5, 1.0)]
    assert of_melanoma[0] > of_melanoma[1] > of_melanoma[2] > 0.1
    of_nevi = [blotch("nv", difficulty) for difficulty in (0.0, 0.5, 1.0)]
    assert 0 == of_nevi[0] < of_nevi[1] < of_nevi[2] < of_melanoma[2]


def test_a_class_without_signs_is_named():
    with pytest.raises(DataError, match=r"must be one of akiec, .* Got 'scc'"):
        draw_signs("scc", generator_of(0), difficulty=0.5, kept=1.0)


def test_corner_marker_stands_in_the_corner_of_melanomas_alone():
    shares = {"mel": 0.5, "nv": 0.5}
    plain, marked = (
        draw(20, 64, class_shares=shares, planted=planted) for planted in (Planted(), Planted("corner_marker"))
    )
    for row, a, b in zip(marked.rows, plain.images, marked.images, strict=True):
        differs = (a != b).any(axis=-1)
        assert row.planted["mark"] == (row.true_label == "mel") == differs.any()
        assert not differs[:54].any()
        assert not differs[:, :54].any()


def test_ruler_follows_melanoma_and_touches_the_lower_edge_alone():
    shares = {"mel": 0.5, "nv": 0.5}
    plain, marked = (draw(20, 64, class_shares=shares, planted=planted) for planted in (Planted(), Planted("ruler")))
    for row, before, a, b in zip(marked.rows, plain.rows, plain.images, marked.images, strict=True):
        assert row.params["ruler"] == row.planted["mark"] == (row.true_label == "mel")
        np.testing.assert_array_equal(a[:60], b[:60])
        assert (a != b).any() == (row.params["ruler"] != before.params["ruler"])  # also over a round field
    assert any(row.params["field_radius"] < 1.3 and row.planted["mark"] for row in marked.rows)


def test_tone_makes_the_skin_of_melanomas_darker():
    shares = {"mel": 0.5, "nv": 0.5}
    plain, shifted = (draw(20, 28, class_shares=shares, planted=planted) for planted in (Planted(), Planted("tone")))
    for row, before, a, b in zip(shifted.rows, plain.rows, plain.images, shifted.images, strict=True):
        change = row.metadata["skin_tone"] - before.metadata["skin_tone"]
        if row.true_label == "mel":
            assert change == pytest.approx(min(0.35, 1 - before.metadata["skin_tone"]), abs=1e-3)
            assert b[6:-6, 6:-6].mean() < a[6:-6, 6:-6].mean()
        else:
            assert change == 0
            np.testing.assert_array_equal(a, b)


def test_label_noise_changes_given_labels_and_nothing_else():
    clean, noisy = draw(40, 28), draw(40, 28, planted=Planted(label_noise=0.4))
    np.testing.assert_array_equal(clean.images, noisy.images)
    assert [row.true_label for row in noisy.rows] == [row.label for row in clean.rows]
    given = {row.unit_id: row.label for row in noisy.rows}
    assert all(given[row.unit_id] == row.label for row in noisy.rows)  # a lesion has one label
    wrong = {row.unit_id for row in noisy.rows if row.label != row.true_label}
    assert 0.15 < len(wrong) / len(given) < 0.65


def test_tone_error_fades_signs_in_dark_skin_alone():
    plain, faded = (
        all_of("mel", 36, 28, difficulty=0.0, planted=planted) for planted in (Planted(), Planted(tone_error=1.0))
    )
    tone = np.array([row.metadata["skin_tone"] for row in plain.rows])
    for k, row in enumerate(faded.rows):
        if tone[k] <= 0.3:
            np.testing.assert_array_equal(plain.images[k], faded.images[k])
            assert row.planted["sign_strength"] == 1
        elif tone[k] >= 0.7:
            assert row.planted["sign_strength"] == 0
            assert row.findings == ()  # a lesion of no kind
    assert (tone <= 0.3).sum() > 5
    assert (tone >= 0.7).any()
    assert all("sign_strength" in row.planted for row in plain.rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 0}, "at least one image. Got 0"),
        ({"img_size": 27}, "at least 28 pixels wide. Got 27"),
        ({"difficulty": 1.5}, r"difficulty must lie in 0..1. Got 1.5"),
        ({"class_shares": {"melanoma": 1.0}}, "must name akiec, .*Got melanoma"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(DataError, match=message):
        draw(**options)
