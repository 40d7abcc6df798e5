"""Test-time augmentation by a naive loop, and what a scorer tells beside probabilities."""

import numpy as np
import pytest
import torch
from small_bundles import pictures, small_classifier

from chiron.preprocess.views import views_of
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace

SINGLE = LabelSpace(names=("a", "b", "c"))
SEVERAL = LabelSpace(kind="multi_label", names=("a", "b", "c"))
ONE_LOGIT = LabelSpace(names=("a", "b"), positive="b", one_logit=True)


def naive(classifier, stored: np.ndarray, views: list) -> np.ndarray:
    """Mean over views of softmax, or of sigmoids, image by image."""
    probs = []
    for image in stored:
        each = []
        for view in views:
            pixels = torch.from_numpy(np.ascontiguousarray(view(image)).transpose(2, 0, 1).copy())[None]
            logits = classifier.member_logits(pixels).double()
            each.append((logits.sigmoid() if classifier.labels.is_multi_label else logits.softmax(-1)).mean(0)[0])
        probs.append(torch.stack(each).mean(0).numpy())
    return np.stack(probs)


HFLIP = [lambda it: it, np.fliplr]
DIHEDRAL = [(lambda it, k=k, f=f: np.rot90(f(it), k)) for k in range(4) for f in HFLIP]


@pytest.mark.parametrize("labels", [SINGLE, SEVERAL, ONE_LOGIT])
@pytest.mark.parametrize(("tta", "views"), [("hflip", HFLIP), ("dihedral", DIHEDRAL)])
def test_views_are_averaged_as_a_naive_loop_does(labels, tta, views):
    classifier, images = small_classifier(labels=labels), pictures(3, size=32)
    said = [list(it.probabilities.values()) for it in classifier.predict_batch(list(images), tta=tta)]
    np.testing.assert_allclose(said, naive(classifier, images, views), atol=1e-6)
    plain = [list(it.probabilities.values()) for it in classifier.predict_batch(list(images))]
    assert np.abs(np.array(said) - plain).max() > 1e-5


@pytest.mark.parametrize("labels", [SINGLE, SEVERAL, ONE_LOGIT])
def test_an_image_that_is_its_own_mirror_says_the_same(labels):
    classifier, image = small_classifier(labels=labels), pictures(1, size=32)[0]
    image[:, 16:] = image[:, 15::-1]
    plain, averaged = classifier.predict(image), classifier.predict(image, tta="hflip")
    assert averaged.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    assert averaged.scope == plain.scope


def test_the_mask_moves_with_the_image_and_lungs_swap_sides():
    """The network reads a left and a right lung; its view of the mirror image is that of image and mask mirrored."""
    spec = InputSpec(img_size=64, in_chans=1, mask="lung")
    classifier = small_classifier(name="chiron_hybrid_lung_vit_nano", spec=spec, labels=ONE_LOGIT, scope=False)
    stored = np.zeros((1, 64, 64, 2), np.uint8)
    stored[0, ..., 0] = pictures(1, size=64)[0, ..., 0]
    stored[0, 10:50, 8:26, 1] = 255
    stored[0, 14:54, 40:52, 1] = 255
    mirrored = views_of(stored, "hflip")[1]
    assert (mirrored[0, 14:54, 12:24, 1] == 255).all()
    image, mask = (torch.from_numpy(stored[..., k].copy())[:, None] for k in (0, 1))
    network, finish = classifier.networks[0], classifier.finish
    with torch.inference_mode():
        inputs = finish(torch.cat([image, mask], dim=1))
        views = [network(*inputs), network(*(it.flip(3) for it in inputs))]
    expected = torch.stack([view.double().sigmoid() for view in views]).mean(0).item()
    outputs = classifier.outputs(stored)
    both = classifier.averaged([outputs.logits, classifier.outputs(np.ascontiguousarray(mirrored)).logits])
    assert classifier.probabilities(both)[0, 1] == pytest.approx(expected, abs=1e-6)
    assert abs((views[0] - views[1]).item()) > 1e-6


def test_evaluation_and_prediction_average_alike():
    classifier, images = small_classifier(members=2), pictures(4, size=32)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    opened = [classifier.open(image) for image in images]
    np.testing.assert_allclose(
        classifier.member_logits_of_views(pixels, "dihedral").numpy(),
        classifier.outputs_of(opened, tta="dihedral").logits,
        atol=1e-6,
    )


def test_several_networks_tell_their_spread_and_one_does_not():
    classifier, image = small_classifier(members=3), pictures(1)[0]
    said = classifier.predict(image)
    logits = classifier.outputs_of([classifier.open(image)]).logits[:, 0]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for k, name in enumerate("abc"):
        assert said.spread[name] == pytest.approx((probs[:, k].min(), probs[:, k].max()))
    assert small_classifier().predict(image).spread is None
    assert "spread" not in small_classifier().predict(image).to_dict()


def test_a_bundle_without_a_score_says_so_and_sees_blank_images(tmp_path):
    from chiron.classifier import load

    small_classifier(scope=False).save(tmp_path / "b")
    classifier = load(tmp_path / "b")
    assert classifier.outputs_of([classifier.open(pictures(1)[0])]).distances is None
    said = classifier.predict(np.full((40, 40), 7, np.uint8))
    assert said.scope is None
    assert said.to_dict()["scope"] is None
    assert said.referral.refer
    assert "nothing to be seen" in said.referral.reasons[0]


def test_a_saved_scope_says_the_same(tmp_path):
    from chiron.classifier import load

    classifier, image = small_classifier(members=2), pictures(1, seed=3)[0]
    classifier.save(tmp_path / "b")
    loaded = load(tmp_path / "b")
    assert loaded.predict(image) == classifier.predict(image)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    assert not loaded.predict(noise).scope.in_scope
    text = (tmp_path / "b" / "bundle.json").read_text()
    assert '"limit_percent": 99.0' in text


def test_a_unit_is_as_far_as_its_farthest_image():
    classifier, images = small_classifier(), list(pictures(3))
    images[1] = np.random.default_rng(0).integers(0, 256, (40, 40, 1), dtype=np.uint8)
    alone = [classifier.predict(image) for image in images]
    assert classifier.predict_unit(images).scope == alone[1].scope
    assert not alone[1].scope.in_scope
