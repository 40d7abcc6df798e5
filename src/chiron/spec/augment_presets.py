"""Augmentations by name: what the systems' scripts do, and two mild ones of our own. Plain values of AugmentRecipe.

A preset's values stand under the keys that are given beside it. Names are `<system>.<reading>` where there are several.
"""

from collections.abc import Mapping
from typing import Any, Literal

PresetName = Literal[
    "convnextv2_ssa",
    "cxr_safe",
    "densenet_transformer",
    "derm",
    "dermalyze.documented",
    "dermalyze.heavy",
    "dermalyze.light",
    "dermalyze.medium",
    "h_coatnet.code",
    "h_coatnet.jitter",
    "hybrid_lung_vit",
]

_CROP_AND_MIRROR: Mapping[str, Any] = {"crop_scale": [0.8, 1.0], "hflip": 0.5}
# 256 px cropped to 224 px, wherever the crop falls
_CROP_224_OF_256: Mapping[str, Any] = {"crop_scale": [0.765625, 0.765625], "crop_ratio": [1.0, 1.0]}

PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    # the script of H-CoAtNet itself; the box is erased to the mean, which is 0 after normalization
    "h_coatnet.code": {
        **_CROP_AND_MIRROR,
        "degrees": 15.0,
        "policy": "trivial_augment",
        "erase": 0.2,
        "erase_scale": [0.02, 0.2],
    },
    # the scripts of CoAtNet and EfficientNet beside it
    "h_coatnet.jitter": {**_CROP_AND_MIRROR, "degrees": 15.0, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "convnextv2_ssa": {
        **_CROP_AND_MIRROR,
        "degrees": 15.0,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.02,
    },
    "densenet_transformer": {"hflip": 0.5, "degrees": 15.0},
    "dermalyze.light": {"hflip": 0.5, "vflip": 0.5, "degrees": 15.0},
    "dermalyze.medium": {
        **_CROP_224_OF_256,
        "hflip": 0.5,
        "vflip": 0.5,
        "degrees": 30.0,
        "translate": 0.1,
        "scale": [0.9, 1.1],
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "dermalyze.heavy": {
        **_CROP_224_OF_256,
        "hflip": 0.5,
        "vflip": 0.5,
        "degrees": 45.0,
        "translate": 0.15,
        "scale": [0.85, 1.15],
        "shear": 10.0,
        "perspective": 0.2,
        "perspective_prob": 0.3,
        "brightness": 0.3,
        "contrast": 0.3,
        "saturation": 0.3,
        "hue": 0.15,
        "blur": 1.0,
        "blur_sigma": [0.1, 2.0],
        "blur_kernel": 3,
    },
    # what the documentation lists; sizes of blur and cutout are not told there. Its second, smaller rotation (15) is
    # left out: one rotation has one range.
    "dermalyze.documented": {
        "hflip": 0.5,
        "vflip": 0.3,
        "degrees": 25.0,
        "translate": 0.1,
        "scale": [0.9, 1.1],
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.1,
        "blur": 0.1,
        "blur_sigma": [0.1, 2.0],
        "blur_kernel": 3,
        "erase": 0.1,
        "erase_ratio": [1.0, 1.0],
        "erase_fill": "black",
    },
    "hybrid_lung_vit": {**_CROP_AND_MIRROR, "degrees": 10.0, "brightness": 0.1, "contrast": 0.1},
    # no mirror: it would put the heart on the other side
    "cxr_safe": {"degrees": 5.0, "translate": 0.05, "scale": [0.95, 1.1], "brightness": 0.1, "contrast": 0.1},
    # skin has no up and no left: all eight views, equally often
    "derm": {
        "hflip": 0.5,
        "rot90": 1.0,
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
        "hue": 0.02,
    },
}
