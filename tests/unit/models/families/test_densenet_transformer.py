"""DenseNet-Transformer: counts, shapes at every step, freezing, torchvision's features without their ReLU."""

from collections import defaultdict

import pytest
import timm
import torch
import torchvision

from chiron.models.create import create_model
from chiron.models.registry import DONORS

FULL, CODE = "chiron_densenet_transformer", "chiron_densenet_transformer_code"


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(0)
    return timm.create_model(FULL, num_classes=1).eval()


def count(model, *stages):
    prefixes = [prefix for stage in stages for prefix in model.named_stages()[stage]]
    named = model.named_parameters()
    return sum(p.numel() for name, p in named if any(name == q or name.startswith(q + ".") for q in prefixes))


def test_parameter_counts(full):
    assert sum(p.numel() for p in full.backbone.parameters()) == 6_953_856
    assert sum(p.numel() for p in full.head.parameters()) == 5_257_217
    assert sum(p.numel() for p in full.parameters()) == 12_211_073
    with torch.device("meta"):
        code = timm.create_model(CODE, num_classes=1)
    assert sum(p.numel() for p in code.parameters()) == 13_236_073
    assert sum(code.get_parameter(name).numel() for name in code.parameters_not_learned) == 1_025_000
    assert full.parameters_not_learned == ()


def test_the_original_freezing_is_a_choice_of_stages(full):
    assert (count(full, "denseblock4"), count(full, "norm5")) == (2_158_080, 2_048)
    with torch.device("meta"):
        code = timm.create_model(CODE, num_classes=1)
    assert count(code, "denseblock4", "norm5", "imagenet_classifier", "head") == 8_442_345
    assert list(code.named_stages())[:4] == ["conv0", "norm0", "denseblock1", "transition1"]


@pytest.mark.parametrize(("side", "places"), [(224, 49), (96, 9)])
def test_shapes_at_every_step(full, side, places):
    shapes = defaultdict(list)
    maps = ["conv0", "pool0", "denseblock1", "denseblock2", "denseblock3", "denseblock4", "norm5"]
    parts = [f"backbone.features.{name}" for name in maps]
    parts += [f"head.{name}" for name in ("projection", "blocks.0", "blocks.1", "fusion", "classifier")]
    handles = [
        full.get_submodule(part).register_forward_hook(
            lambda m, inputs, output, part=part: shapes[part.split(".", 2 if "features" in part else 1)[-1]].append(
                tuple((output[0] if isinstance(output, tuple) else output).shape)
            )
        )
        for part in parts
    ]
    with torch.no_grad():
        output = full.forward_named(torch.randn(1, 3, side, side))
    for handle in handles:
        handle.remove()
    grid = {stride: (side // stride, side // stride) for stride in (2, 4, 8, 16, 32)}
    assert shapes == {
        "conv0": [(1, 64, *grid[2])],
        "pool0": [(1, 64, *grid[4])],
        "denseblock1": [(1, 256, *grid[4])],
        "denseblock2": [(1, 512, *grid[8])],
        "denseblock3": [(1, 1024, *grid[16])],
        "denseblock4": [(1, 1024, *grid[32])],
        "norm5": [(1, 1024, *grid[32])],
        "projection": [(1, places, 512)],
        "blocks.0": [(1, places + 1, 512)],
        "blocks.1": [(1, places + 1, 512)],
        "fusion": [(1, 512)],
        "classifier": [(1, 1)],
    }
    assert output.logits.shape == (1, 1)
    assert [layer.shape for layer in output.attn] == [(1, 8, places + 1, places + 1)] * 2


def test_features_are_torchvisions_without_the_relu(full):
    theirs = torchvision.models.densenet121().eval()
    names = {f"features.{name}" for name, _ in theirs.features.named_parameters()}
    state = full.backbone.state_dict()
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert (set(missing), unexpected) == ({"classifier.weight", "classifier.bias"}, [])
    assert names <= set(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = full.forward_features(images)
        assert (maps - theirs.features(images)).abs().max() <= 1e-5
    assert (maps < 0).any()


@pytest.mark.parametrize("name", [FULL, CODE])
def test_donor_fills_the_backbone(name):
    donor = DONORS[name]
    assert donor.name == "densenet121.tv_in1k"
    with torch.device("meta"):
        theirs = timm.create_model("densenet121").state_dict()
        ours = timm.create_model(name, num_classes=1).state_dict()
    renamed = {donor.rename(key): tensor.shape for key, tensor in theirs.items()}
    assert renamed.pop(None) in {(1000,), (1000, 1024)}
    assert renamed == {key: tensor.shape for key, tensor in ours.items() if key.startswith("backbone.")}


@pytest.mark.parametrize("num_classes", [1, 4])
def test_any_number_of_classes_learns(num_classes):
    torch.manual_seed(0)
    model = timm.create_model("chiron_densenet_transformer_nano", num_classes=num_classes)
    logits = model(torch.randn(4, 3, 64, 64))
    assert logits.shape == (4, num_classes)
    logits.square().sum().backward()
    assert all(p.grad.any() for p in model.parameters())


def test_the_codes_reading_gives_the_same_logits():
    plain = timm.create_model("chiron_densenet_transformer_nano", num_classes=1).eval()
    code = timm.create_model("chiron_densenet_transformer_code_nano", num_classes=1).eval()
    missing, unexpected = code.load_state_dict(plain.state_dict(), strict=False)
    assert (set(missing), unexpected) == ({"imagenet_classifier.weight", "imagenet_classifier.bias"}, [])
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(plain(images), code(images))


def test_drop_rate_is_the_heads():
    for name in ["chiron_densenet_transformer_nano", "chiron_densenet_transformer_code_nano"]:
        model = timm.create_model(name, drop_rate=0.4)
        assert {m.p for m in model.head.modules() if isinstance(m, torch.nn.Dropout)} == {0.4}


def test_another_head_leaves_the_codes_classifier_unlearned():
    model = create_model(
        "chiron_densenet_transformer_code_nano",
        num_classes=2,
        img_size=64,
        head="acrnn",
        head_args={"sequence": False},
        init="scratch",
        seed=0,
    )
    assert "imagenet_classifier.weight" in model.parameters_not_learned
    assert "head.lstm.weight_hh_l0" in model.parameters_not_learned


def test_nano_is_small():
    counts = [
        sum(p.numel() for p in timm.create_model(f"{name}_nano", num_classes=2).parameters()) for name in (FULL, CODE)
    ]
    assert counts == [106_194, 109_494]
