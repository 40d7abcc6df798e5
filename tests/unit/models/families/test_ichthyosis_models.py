"""The networks of the ichthyosis comparison and their exact sizes, at 5 classes and 224 pixels."""

import pytest
import timm
import torch

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.models.create import imagenet_weights

SIZES = {
    "chiron_h_coatnet": 29_012_165,
    "chiron_fair_cnn": 242_181,
    "efficientnet_b0": 4_013_953,
    "chiron_vit_scratch": 5_525_381,
    "swin_tiny_patch4_window7_224": 27_523_199,
    "convnext_tiny": 27_823_973,  # what the comparison calls CoAtNet; the true ones follow
    "coatnet_0_224": 24_271_665,
    "coatnet_0_rw_224": 26_670_407,
    "coatnet_nano_rw_224": 14_630_809,
}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_parameter_count(name, size):
    with torch.device("meta"):  # counts need no memory
        model = timm.create_model(name, num_classes=5)
    assert sum(parameter.numel() for parameter in model.parameters()) == size
    assert timm.get_pretrained_cfg(name).input_size == (3, 224, 224)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("chiron_h_coatnet", "convnext_tiny"),
        ("chiron_h_coatnet_corrected", "convnext_tiny"),
        ("chiron_gft", "vit_tiny_patch16_224"),
        ("chiron_gft_corrected", "vit_tiny_patch16_224"),
    ],
)
def test_a_hybrid_starts_from_the_weights_of_its_backbone(name, backbone):
    """Otherwise a comparison under `init: imagenet` would compare what two sets of weights have seen."""
    assert imagenet_weights(name) == imagenet_weights(backbone)
