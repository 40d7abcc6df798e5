"""Maps with scores and with what they must differ from."""

import numpy as np
import torch

from chiron.classifier import load
from chiron.data.dataset import to_tensor
from chiron.explanation.scored import ScoredExplainer, _most_probable_other


def test_the_wrong_class_is_the_most_probable_other_one():
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], dtype=torch.float64)
    assert _most_probable_other(probs, torch.tensor([0, 1])).tolist() == [1, 2]


def test_only_the_images_asked_for_have_maps_beside_them(trained_run):
    classifier = load(trained_run.bundle)
    images = sorted((trained_run.path.parent / "data" / "well").iterdir())[:2]
    stored = torch.stack([to_tensor(classifier.store(image)) for image in images])
    made = ScoredExplainer(classifier, method="feature_maps").batch(stored, beside=[1])
    assert made[0].beside is None
    beside = made[1].beside
    assert beside.wrong_class != made[1].class_name
    np.testing.assert_allclose(beside.wrong, made[1].heat, atol=1e-5)  # feature maps know of no class
    assert abs(beside.untrained - made[1].heat).max() > 0.1
    assert {"deletion", "stability", "randomization"} <= made[0].scores.keys()


def test_masks_are_pointed_at_by_controls_too(trained_run):
    classifier = load(trained_run.bundle)
    images = sorted((trained_run.path.parent / "data" / "sick").iterdir())[:2]
    stored = torch.stack([to_tensor(classifier.store(image)) for image in images])
    size = classifier.input_spec.img_size
    masks = torch.zeros((2, size, size), dtype=torch.bool)
    masks[0, size // 3 : -size // 3, size // 3 : -size // 3] = True
    made = ScoredExplainer(classifier, method="feature_maps").batch(stored, masks=masks)
    assert set(made[0].of_controls) == {"edges", "center", "random"}
    assert made[0].of_controls["center"]["pointing"] == 1
    assert np.isnan(made[1].of_controls["center"]["pointing"])  # no finding to hit
    assert not ScoredExplainer(classifier, method="feature_maps").batch(stored)[0].of_controls
