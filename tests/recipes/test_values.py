"""What the recipes that follow a system hold, value by value against what the system's source says."""

import re
from typing import Any

import pytest
import timm
import torch

from chiron.classifier import build_network
from chiron.engine.freezing import frozen_names
from chiron.spec.bundle_spec import network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.library import packaged_recipes
from chiron.spec.reading import read_recipe
from chiron.spec.train_recipe import FreezeRecipe

FOLLOWING = ("documented", "code", "paper")
NAMES = [name for name in packaged_recipes() if name.endswith(FOLLOWING)]

Values = dict[str, Any]

PLAIN = {  # of every one unless it says otherwise
    "drop_last": False,
    "grad_accum_steps": 1,
    "optimizer_args": {},
    "weight_decay_on": "all",
    "layer_decay": None,
    "schedule_per": "step",
    "warmup_epochs": 0,
    "min_lr": 0,
    "clip_grad": None,
    "freeze": (),
    "loss": "cross_entropy",
    "label_smoothing": 0,
    "label_smoothing_over": "all",
    "class_weights": "none",
    "class_weight_cap": None,
    "sampler": "none",
    "mixup_alpha": 0,
    "cutmix_alpha": 0,
    "mix_from_epoch": 0,
    "segmentation_weight": 0,
    "attention_weight": 0,
    "ema_decay": None,
    "ema_from_epoch": 0,
    "patience": None,
    "min_delta": 0,
    "precision": "fp32",
    "channels_last": None,
    "compile": None,
}
ICHTHYOSIS = {"epochs": 30, "schedule": "cosine", "schedule_per": "epoch", "select_by": "accuracy", "lr": 5e-5}
SCRIPT = ICHTHYOSIS | {"optimizer": "adamw", "weight_decay": 0.01}
README = ICHTHYOSIS | {"optimizer": "adam", "weight_decay": 0}
WEIGHTED = {"batch_size": 24, "class_weights": "balanced"}  # all scripts but those of ViT and Swin
UNWEIGHTED = {"batch_size": 16}
SMOOTH = {"label_smoothing": 0.1}
WHOLE_BATCHES = {"drop_last": True}  # the script of GFT alone
FASTER = {"lr": 3e-4}
SSA = {
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr": 0.01,
    "weight_decay": 2e-5,
    "schedule": "cosine",
    "warmup_epochs": 5,
    "warmup_lr": 1e-5,
    "mixup_alpha": 0.4,
    "ema_decay": 0.9999,
    "select_by": "macro_f1",
}
SSA_CODE = SSA | {
    "sampler": "balanced",
    "class_weights": "inverse_frequency",
    "class_weight_cap": 10,
    "mix_from_epoch": 5,
    "ema_from_epoch": 5,
    "ema_bias_correction": False,
}
BELOW_THE_LAST_BLOCK = (
    "conv0",
    "norm0",
    "denseblock1",
    "transition1",
    "denseblock2",
    "transition2",
    "denseblock3",
    "transition3",
)
QING = {
    "epochs": 20,
    "batch_size": 16,
    "optimizer": "adam",
    "lr": 5e-6,
    "weight_decay": 0,
    "schedule": "plateau",
    "plateau_factor": 0.2,
    "plateau_patience": 3,
    "min_lr": 1e-7,
    "freeze": (FreezeRecipe(stages=BELOW_THE_LAST_BLOCK),),
    "loss": "bce",
    "select_by": "loss",
    "patience": 5,
}
DERMALYZE = {
    "epochs": 40,
    "batch_size": 32,
    "drop_last": True,
    "optimizer": "adamw",
    "lr": 3e-4,
    "weight_decay": 0.02,
    "schedule": "warm_restarts",
    "schedule_per": "epoch",
    "restart_epochs": 20,
    "restart_mult": 1,
    "min_lr": 1e-5,
    "clip_grad": 1,
    "sampler": "balanced",
    "select_by": "loss",
    "patience": 6,
    "min_delta": 0.001,
}
DERMALYZE_README = DERMALYZE | {"class_weights": "balanced", "warmup_epochs": 2}
LUNGS = {
    "epochs": 20,
    "batch_size": 16,
    "optimizer": "adamw",
    "lr": 5e-5,
    "weight_decay": 1e-4,
    "schedule": "plateau",
    "plateau_factor": 0.5,
    "plateau_patience": 2,
    "freeze": (FreezeRecipe(stages=("stem",), epochs=3, lr_scale=0.2),),
    "class_weights": "balanced",
    "sampler": "balanced",
    "label_smoothing": 0.1,
    "select_by": "auroc",
    "patience": 5,
}

TRAIN: dict[str, Values] = {
    "chest_xray/densenet_transformer.code": QING,
    "chest_xray/densenet_transformer.documented": QING,
    "ham10000/effnetv2_l.documented": DERMALYZE_README,
    "ham10000/effnetv2_m.documented": DERMALYZE_README,
    "ham10000/effnetv2_s.code": DERMALYZE | {"class_weights": "balanced_mean_one"},
    "ham10000/effnetv2_s.documented": DERMALYZE_README,
    "ham10000/effnetv2_s_acrnn.documented": DERMALYZE_README,
    "ichthyosis/coatnet.documented": README | WEIGHTED,
    "ichthyosis/convnext_tiny.code": SCRIPT | WEIGHTED,
    "ichthyosis/efficientnet_b0.code": SCRIPT | WEIGHTED | FASTER,
    "ichthyosis/efficientnet_b0.documented": README | WEIGHTED | FASTER,
    "ichthyosis/fair_cnn.code": SCRIPT | WEIGHTED,
    "ichthyosis/fair_cnn.documented": README | WEIGHTED,
    "ichthyosis/gft.code": SCRIPT | WEIGHTED | WHOLE_BATCHES,
    "ichthyosis/gft.documented": README | WEIGHTED | WHOLE_BATCHES,
    "ichthyosis/h_coatnet.code": SCRIPT | WEIGHTED | SMOOTH,
    "ichthyosis/h_coatnet.documented": README | WEIGHTED | SMOOTH,
    "ichthyosis/swin_tiny.code": SCRIPT | UNWEIGHTED,
    "ichthyosis/swin_tiny.documented": README | UNWEIGHTED,
    "ichthyosis/vit_scratch.code": SCRIPT | UNWEIGHTED,
    "ichthyosis/vit_scratch.documented": README | UNWEIGHTED,
    "isic2019/convnextv2_ssa.documented": SSA_CODE,
    "isic2019/convnextv2_ssa_compact.documented": SSA_CODE,
    "isic2019/convnextv2_ssa_compact.paper": SSA,
    "isic2019/convnextv2_ssa_minimal.code": SSA_CODE,
    "pediatric_cxr/hybrid_lung_vit.documented": LUNGS,
}
CROP_AND_MIRROR = {"crop_scale": (0.8, 1.0), "hflip": 0.5}
JITTER = {"degrees": 15, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
OF_H_COATNET = {"degrees": 15, "policy": "trivial_augment", "erase": 0.2, "erase_scale": (0.02, 0.2)}
DERMALYZE_COLOR = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
DERMALYZE_SHIFT = {"hflip": 0.5, "translate": 0.1, "scale": (0.9, 1.1)}
AUGMENT: dict[str, Values] = {
    "chest_xray": {"hflip": 0.5, "degrees": 15},
    "ham10000": DERMALYZE_SHIFT | DERMALYZE_COLOR | {"vflip": 0.3, "degrees": 25, "blur": 0.1, "erase": 0.1},
    "ham10000/effnetv2_s.code": DERMALYZE_SHIFT | DERMALYZE_COLOR | {"vflip": 0.5, "degrees": 30},
    "ichthyosis": CROP_AND_MIRROR | OF_H_COATNET,
    "ichthyosis/convnext_tiny.code": CROP_AND_MIRROR | JITTER,
    "ichthyosis/efficientnet_b0.code": CROP_AND_MIRROR | JITTER,
    "ichthyosis/fair_cnn.code": CROP_AND_MIRROR,
    "ichthyosis/gft.code": CROP_AND_MIRROR,
    "ichthyosis/swin_tiny.code": CROP_AND_MIRROR,
    "ichthyosis/vit_scratch.code": CROP_AND_MIRROR,
    "isic2019": CROP_AND_MIRROR | JITTER | {"hue": 0.02},
    "isic2019/convnextv2_ssa_compact.paper": CROP_AND_MIRROR | JITTER | {"hue": 0.02, "blur": 0.1},
    "pediatric_cxr": CROP_AND_MIRROR | {"degrees": 10, "brightness": 0.1, "contrast": 0.1},
}
NO_EFFECT_ALONE = {"crop_ratio", "blur_sigma", "blur_kernel", "erase_ratio", "erase_fill"}  # details of what is on
IMAGENET = {"ichthyosis/h_coatnet.code", "ichthyosis/convnext_tiny.code", "ichthyosis/gft.code"}


def test_every_recipe_that_follows_a_system_is_held_to_it():
    assert set(TRAIN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_training(name):
    wanted, train = PLAIN | TRAIN[name], read_recipe(name).train
    assert {key: getattr(train, key) for key in wanted} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_augmentation(name):
    """Nothing but what the source has; a crop of 224 in 256 pixels is (224 / 256)^2 of the area."""
    wanted, augment = AUGMENT.get(name, AUGMENT[name.split("/")[0]]), read_recipe(name).augment
    if name == "ham10000/effnetv2_s.code":
        wanted = wanted | {"crop_scale": ((224 / 256) ** 2,) * 2}
    plain = type(augment)()
    changed = {key for key in type(augment).model_fields if getattr(augment, key) != getattr(plain, key)}
    assert {key: getattr(augment, key) for key in changed - NO_EFFECT_ALONE} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_first_weights_input_and_split(name):
    recipe = read_recipe(name)
    assert recipe.input.img_size == 224
    if name.startswith("ichthyosis/"):
        assert recipe.model.init == ("imagenet" if name in IMAGENET else "scratch")
        assert recipe.data.keep_existing_splits == name.endswith(".code")
        assert recipe.model.args.get("drop_rate") == (0.2 if name.endswith(".documented") else None)
    if name.startswith("chest_xray/"):
        assert (recipe.input.mean, recipe.input.std) == ((0.485,) * 3, (0.229,) * 3)
    share = {"chest_xray": 0.2}.get(name.split("/")[0], 0.15)
    assert recipe.data.fractions["val"] == pytest.approx(share)
    assert recipe.data.fractions.get("test", 0.15) == pytest.approx(0.15)


@pytest.mark.parametrize("name", ["ichthyosis/swin_tiny.code", "ichthyosis/swin_tiny.documented"])
def test_its_swin_drops_no_paths(name):
    """timm's drops 10 % in the last block unless it is told not to."""
    model = read_recipe(name).model
    network = timm.create_model(model.name, num_classes=5, **model.args)
    assert not any(getattr(layer, "drop_prob", 0) for layer in network.modules())


@pytest.mark.parametrize("name", NAMES)
def test_what_follows_a_system_does_not_depend_on_the_machine(name):
    """`precision: auto` measures, so that two machines may train in two precisions."""
    assert read_recipe(name).train.precision != "auto"


@pytest.mark.parametrize("name", [name for name in packaged_recipes() if name.endswith((".corrected", ".own"))])
def test_ours_correct_an_imbalance_once_and_choose_their_precision(name):
    train = read_recipe(name).train
    assert train.sampler == "none" or train.class_weights == "none"
    assert train.precision == "auto"


FROZEN = [name for name in packaged_recipes() if read_recipe(name).train.freeze]


def test_networks_of_two_systems_are_partly_frozen():
    assert {name.split(".")[0] for name in FROZEN} == {
        "chest_xray/densenet_transformer",
        "pediatric_cxr/hybrid_lung_vit",
        "pediatric_cxr/hybrid_lung_vit_tiny",
    }


@pytest.mark.parametrize("name", FROZEN)
def test_what_is_frozen(name):
    """Qing: of the DenseNet, denseblock4 and norm5 learn. HybridLungViT: the stem for three epochs."""
    recipe = read_recipe(name)
    labels = LabelSpace(names=("a", "b"), positive="b", one_logit=recipe.labels.one_logit)
    with torch.device("meta"):  # names and sizes are enough
        network = build_network(network_of(recipe.model), recipe.input, labels)
    sizes = {key: parameter.numel() for key, parameter in network.named_parameters()}
    frozen = frozen_names(network, recipe.train.freeze, epoch=2)
    if name.startswith("pediatric_cxr/"):
        assert frozen == {key for key in sizes if key.startswith("stem.")}
        assert frozen_names(network, recipe.train.freeze, epoch=3) == set()
        return
    of_densenet = {key for key in sizes if key.startswith("backbone.features.")}
    assert of_densenet - frozen == {key for key in of_densenet if re.search(r"\.(denseblock4|norm5)\.", key)}
    assert frozen < of_densenet
    assert frozen_names(network, recipe.train.freeze, epoch=19) == frozen
    # all features 6,953,856; 16 layers of denseblock4 of 512 + 32 i inputs 2,158,080; norm5 2,048
    assert sum(sizes[key] for key in frozen) == 6_953_856 - 2_158_080 - 2_048
