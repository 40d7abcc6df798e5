import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from chiron.data.augment.draw import draw_augmentation
from chiron.data.augment.policies import RAND_AUGMENT, TRIVIAL_AUGMENT_WIDE, draw_step
from chiron.spec.augment import AugmentRecipe

THEIR_NAMES = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "saturation",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
}


@pytest.mark.parametrize(("space", "theirs"), [(TRIVIAL_AUGMENT_WIDE, TrivialAugmentWide), (RAND_AUGMENT, RandAugment)])
def test_operations_and_strengths_are_torchvisions(space, theirs):
    """All 14 operations, all 31 strengths, both signs; shifts at 224 pixels."""
    for place, (their_name, (strengths, signed)) in enumerate(theirs._AUGMENTATION_SPACE.items()):
        which = (place + 0.5) / 14
        expected = strengths(31, 224, 224)
        for number in range(31):
            for side in (0.2, 0.8):
                step = draw_step(space, np.array([which, (number + 0.5) / 31, side]))
                assert step.name == THEIR_NAMES[their_name]
                assert step == draw_step(space, np.array([which, 0.0, side]), magnitude=number)
                if expected is None:
                    assert step.strength == 0
                    continue
                value = float(expected[number]) * (-1 if signed and side > 0.5 else 1)
                own = step.strength * (224 if "translate" in step.name else 1)
                own -= step.name in ("brightness", "saturation", "contrast", "sharpness")  # factors lie around 1
                assert own == pytest.approx(value, abs=1e-5)


def test_trivial_augment_takes_one_operation_and_each_equally_often():
    recipe = AugmentRecipe(policy="trivial_augment")
    steps = [draw_augmentation(recipe, seed).policy for seed in range(2800)]
    assert {len(own) for own in steps} == {1}
    names, counts = np.unique([own[0].name for own in steps], return_counts=True)
    assert set(names) == set(THEIR_NAMES.values())
    assert counts.min() > 140  # 200 expected, standard deviation 13.6
    assert counts.max() < 260
    degrees = [own[0].strength for own in steps if own[0].name == "rotate"]
    assert max(degrees) > 120
    assert min(degrees) < -120
    assert max(map(abs, degrees)) <= 135


@pytest.mark.parametrize(("count", "magnitude"), [(1, 0), (2, 9), (4, 30)])
def test_rand_augment_takes_n_operations_of_strength_m(count, magnitude):
    recipe = AugmentRecipe(policy="rand_augment", rand_augment_ops=count, rand_augment_magnitude=magnitude)
    rotations = set()
    for seed in range(200):
        policy = draw_augmentation(recipe, seed).policy
        assert len(policy) == count
        rotations |= {round(abs(step.strength), 4) for step in policy if step.name == "rotate"}
    assert rotations == {round(30 * magnitude / 30, 4)}


def test_torchvision_still_has_the_operations_that_are_counted_on():
    assert list(TrivialAugmentWide._AUGMENTATION_SPACE) == list(THEIR_NAMES)
    assert torch.equal(TrivialAugmentWide._AUGMENTATION_SPACE["Rotate"][0](31, 1, 1)[-1:], torch.tensor([135.0]))
