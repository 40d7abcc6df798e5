"""The parameters of every model of the five systems, exactly, at the system's number of classes and 224 pixels."""

import pytest

from chiron.models.create import create_model
from chiron.models.registry import chiron_model_names

COUNTS = {
    # name, its head, classes: parameters
    ("chiron_h_coatnet", None, 5): 29_012_165,
    ("chiron_fair_cnn", None, 5): 242_181,
    ("chiron_vit_scratch", None, 5): 5_525_381,
    ("efficientnet_b0", None, 5): 4_013_953,
    ("swin_tiny_patch4_window7_224", None, 5): 27_523_199,
    ("convnext_tiny", None, 5): 27_823_973,
    ("coatnet_0_224", None, 5): 24_271_665,
    ("coatnet_0_rw_224", None, 5): 26_670_407,
    ("coatnet_nano_rw_224", None, 5): 14_630_809,
    ("chiron_gft", None, 5): 6_160_758,
    ("chiron_convnextv2_ssa", None, 8): 95_307_272,
    ("chiron_convnextv2_ssa_compact", None, 8): 21_932_072,
    ("chiron_convnextv2_ssa_minimal", None, 8): 21_752_504,
    ("chiron_densenet_transformer", None, 1): 12_211_073,
    ("chiron_densenet_transformer_code", None, 1): 13_236_073,
    ("chiron_effnetv2_s", None, 7): 20_968_023,
    ("chiron_effnetv2_m", None, 7): 53_648_891,
    ("chiron_effnetv2_l", None, 7): 118_024_807,
    ("chiron_effnetv2_s", "acrnn", 7): 20_177_488 + 547_575,
    ("chiron_effnetv2_m", "acrnn", 7): 52_858_356 + 547_575,
    ("chiron_effnetv2_l", "acrnn", 7): 117_234_272 + 547_575,
}


@pytest.mark.slow  # most are counted in the tests of their family too
@pytest.mark.parametrize(("name", "head", "num_classes"), COUNTS)
def test_count(name, head, num_classes):
    model = create_model(name, head=head, num_classes=num_classes, img_size=224, init="scratch", seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name, head, num_classes]


def test_every_documented_or_code_reading_is_in_the_table():
    counted = {name for name, _, _ in COUNTS}
    ours = {name for name in chiron_model_names() if not name.endswith("_nano")}
    assert ours - counted <= {name for name in ours if "corrected" in name or "hybrid_lung_vit" in name}
