"""EfficientNetV2: counts, shapes, and torchvision's features from torchvision's tensors."""

from collections import defaultdict

import pytest
import timm
import torch
import torchvision

from chiron.models.create import create_model
from chiron.models.registry import DONORS


@pytest.fixture(scope="module")
def small():
    """The s model with the tensors of torchvision's, both in evaluation mode."""
    torch.manual_seed(0)
    theirs = torchvision.models.efficientnet_v2_s().eval()
    for buffer in theirs.buffers():  # statistics of 0 and 1 would hide a swap
        if buffer.dtype == torch.float32:
            buffer.uniform_(0.8, 1.2)
    ours = timm.create_model("chiron_effnetv2_s", num_classes=7).eval()
    renamed = {DONORS["chiron_effnetv2_s"].rename(name): tensor for name, tensor in theirs.state_dict().items()}
    renamed.pop(None)
    missing, unexpected = ours.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"head"}
    return ours, theirs


def test_features_are_torchvisions(small):
    ours, theirs = small
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = theirs.features(images)
        gap = (ours.forward_features(images) - expected).abs().max() / expected.abs().max()
        assert gap <= 1e-5
        pooled = ours.backbone.forward_head(ours.forward_features(images), pre_logits=True)
        assert torch.allclose(pooled, theirs.avgpool(expected).flatten(1), rtol=1e-4, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize(
    ("size", "backbone", "simple", "acrnn"),
    [
        ("s", 20_177_488, 20_968_023, 20_725_063),
        ("m", 52_858_356, 53_648_891, 53_405_931),
        ("l", 117_234_272, 118_024_807, 117_781_847),
    ],
)
def test_parameter_counts_and_tensors_of_torchvision(size, backbone, simple, acrnn):
    with torch.device("meta"):
        ours = timm.create_model(f"chiron_effnetv2_{size}", num_classes=7)
        theirs = getattr(torchvision.models, f"efficientnet_v2_{size}")()
    assert sum(p.numel() for p in ours.backbone.parameters()) == backbone
    assert sum(p.numel() for p in ours.parameters()) == simple
    head = 547_575
    assert backbone + head == acrnn
    state = ours.state_dict()
    shapes = {DONORS["chiron_effnetv2_s"].rename(name): tensor.shape for name, tensor in theirs.state_dict().items()}
    assert shapes.pop(None) == (1000,)  # torchvision's classifier
    assert shapes == {name: tensor.shape for name, tensor in state.items() if name.startswith("backbone.")}
    assert DONORS[f"chiron_effnetv2_{size}"].name == f"EfficientNet_V2_{size.upper()}_Weights.IMAGENET1K_V1"
    torchvision.models.get_weight(DONORS[f"chiron_effnetv2_{size}"].name)  # torchvision knows it
    with torch.device("meta"):
        rates = [getattr(m, "drop_prob", 0.0) for m in ours.modules() if type(m).__name__ == "DropPath"]
        theirs_rates = [m.p for m in theirs.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates == pytest.approx([rate for rate in theirs_rates if rate > 0])
    assert {m.eps for m in ours.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("side", [224, 96])
def test_shapes_at_every_step(small, side):
    model, shapes = small[0], defaultdict(list)
    parts = ["bn1", *(f"blocks.{i}" for i in range(6)), "bn2", "global_pool"]
    handles = [
        model.backbone.get_submodule(part).register_forward_hook(
            lambda m, inputs, output, part=part: shapes[part].append(tuple(output.shape))
        )
        for part in parts
    ]
    with torch.no_grad():
        assert model(torch.randn(1, 3, side, side)).shape == (1, 7)
    for handle in handles:
        handle.remove()
    strides = [2, 4, 8, 16, 16, 32]
    widths = [24, 48, 64, 128, 160, 256]
    assert shapes == {
        "bn1": [(1, 24, side // 2, side // 2)],
        **{
            f"blocks.{i}": [(1, width, side // stride, side // stride)]
            for i, (width, stride) in enumerate(zip(widths, strides, strict=True))
        },
        "bn2": [(1, 1280, side // 32, side // 32)],
        "global_pool": [(1, 1280)],
    }


def test_stages_are_torchvisions_children(small):
    ours, theirs = small
    counts = [
        sum(p.numel() for name, p in ours.named_parameters() if any(name.startswith(q + ".") for q in prefixes))
        for prefixes in ours.named_stages().values()
    ]
    assert counts == [*(sum(p.numel() for p in child.parameters()) for child in theirs.features), 790_535]


def test_the_recurrent_head():
    model = create_model(
        "chiron_effnetv2_nano", num_classes=3, img_size=96, head="acrnn", init="scratch", seed=0
    ).eval()
    assert model.forward_named(torch.zeros(2, 3, 96, 96)).attn[0].shape == (2, 1, 1, 9)


def test_drop_rate_is_the_heads():
    model = timm.create_model("chiron_effnetv2_nano", drop_rate=0.1)
    assert model.head.layers[0].p == 0.1
    assert model.backbone.drop_rate == 0.0


def test_nano_is_small():
    assert sum(p.numel() for p in timm.create_model("chiron_effnetv2_nano", num_classes=2).parameters()) == 220_938


def test_paths_are_dropped_as_in_torchvision():
    """0.2 at the last block, growing from the first; timm's own default is none."""
    blocks = [block for stage in timm.create_model("chiron_effnetv2_s").backbone.blocks for block in stage]
    theirs = [
        m for m in torchvision.models.efficientnet_v2_s().modules() if isinstance(m, torchvision.ops.StochasticDepth)
    ]
    ours = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert ours == pytest.approx([layer.p for layer in theirs])
