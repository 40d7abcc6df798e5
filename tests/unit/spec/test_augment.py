from typing import get_args

import pytest
from pydantic import ValidationError

from chiron.core.errors import SpecError
from chiron.spec.augment import AugmentRecipe
from chiron.spec.augment_presets import PRESETS, PresetName
from chiron.spec.reading import read_recipe, recipe_yaml

RECIPE = "general/h_coatnet_nano.own"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_recipe_that_does_something(name):
    recipe = AugmentRecipe(preset=name)
    assert recipe != AugmentRecipe()
    for key, value in PRESETS[name].items():
        assert getattr(recipe, key) == (tuple(value) if isinstance(value, list) else value)
    assert not recipe.idle


def test_preset_names_are_those_of_the_table():
    assert sorted(PRESETS) == list(get_args(PresetName))


def test_preset_never_mirrors_a_chest_that_is_to_stay_as_it_is():
    safe = AugmentRecipe(preset="cxr_safe")
    assert (safe.hflip, safe.vflip, safe.rot90) == (0, 0, 0)


def test_keys_beside_a_preset_win():
    recipe = AugmentRecipe(preset="convnextv2_ssa", hflip=0.0, blur=0.2)
    assert (recipe.hflip, recipe.blur, recipe.hue, recipe.degrees) == (0.0, 0.2, 0.02, 15.0)


def test_resolved_recipe_shows_every_value_and_reads_back(tmp_path):
    recipe = read_recipe(RECIPE, ["augment={preset: dermalyze.heavy, degrees: 10}"])
    text = recipe_yaml(recipe)
    assert "preset" not in text
    assert "perspective_prob: 0.3" in text
    (tmp_path / "resolved.yaml").write_text(text)
    assert read_recipe(str(tmp_path / "resolved.yaml")) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("augment.preset=dermalyze.hevy", "Did you mean 'dermalyze.heavy'?"),
        ("augment.preset=[derm]", "augment.preset must be"),
        ("augment.crop_scale=[0.5, 1.2]", "crop_scale must be two positive numbers of at most 1, the smaller first"),
        ("augment.erase_ratio=[3, 1]", "erase_ratio must be two positive numbers, the smaller first"),
        ("augment.blur_sigma=[0, 1]", "blur_sigma must be two positive numbers, the smaller first"),
        ("augment.blur_kernel=4", "augment.blur_kernel: must be odd, not 4"),
        ("augment.hue=0.6", "augment.hue"),
        ("augment.policy=trivialaugment", "Did you mean 'trivial_augment'?"),
        ("augment.rand_augment_magnitude=31", "augment.rand_augment_magnitude"),
        ("augment.scale=[1]", "augment.scale"),
        ("augment={preset: densenet_transformer, hflip: 0, degrees: 3}", "preset densenet_transformer has no effect"),
    ],
)
def test_mistakes_are_told(change, message):
    with pytest.raises(SpecError) as error:
        read_recipe(RECIPE, [change])
    assert message in str(error.value)


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError):
        AugmentRecipe(mirror=0.5)


def test_keys_that_do_nothing_alone():
    recipe = AugmentRecipe(crop_ratio=(1.0, 1.0), erase_fill="black", blur_kernel=3, rand_augment_ops=3)
    assert recipe.idle == {
        "crop_ratio": "crop_scale",
        "blur_kernel": "blur",
        "erase_fill": "erase",
        "rand_augment_ops": "policy rand_augment",
    }
    assert not AugmentRecipe(policy="rand_augment", rand_augment_ops=3, blur=0.1, blur_kernel=3).idle
