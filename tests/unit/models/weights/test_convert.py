"""Checkpoints in the names of others, made up here, give the same logits under the names of timm and of Chiron."""

import re

import pytest
import timm
import torch
import torchvision
from timm.models import convnext

from chiron.core.errors import ModelError
from chiron.core.registry import leaf_names, load_leaf
from chiron.models.create import create_model
from chiron.models.weights.convert import convert
from chiron.models.weights.fill import fill
from chiron.models.weights.importing import chexnet, gft, qing

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(name, num_classes=5, **arguments):
    """Random weights that are no constants, with random statistics of batch norms."""
    torch.manual_seed(3)
    model = timm.create_model(name, num_classes=num_classes, **arguments) if isinstance(name, str) else name
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim <= 1:
            torch.nn.init.uniform_(tensor, 0.5, 1.0)
    return model.eval()


def imported(tensors, name, img_size=64, **arguments):
    model = create_model(name, num_classes=5, img_size=img_size, init="scratch", seed=8, **arguments)
    reading = convert(tensors, name, model)
    return model.eval(), reading, fill(model, reading.tensors, source="made up")


@torch.no_grad()
def assert_equal_logits(one, other):
    expected = one(IMAGES)
    assert expected.std() > 0
    assert torch.equal(other(IMAGES), expected)


@pytest.fixture(scope="module")
def densenet():
    return network(torchvision.models.densenet121(num_classes=5))


def old_names(tensors):
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): t for name, t in tensors.items()}


def test_timms_own_names(densenet):
    source = network("test_resnet")
    model, reading, filled = imported(source.state_dict(), "test_resnet")
    assert_equal_logits(source, model)
    assert (reading.kind, filled.missing, filled.unexpected) == ("names of the model", (), ())
    assert filled.num_drawn == 0


@pytest.mark.parametrize("rename", [dict, old_names])
def test_torchvision_densenet(densenet, rename):
    model, _, filled = imported(rename(densenet.state_dict()), "densenet121")
    assert_equal_logits(densenet, model)
    assert not filled.missing


def test_chexnet(densenet):
    """`densenet121.` before the names, the old names of layers, and a classifier of 14 findings."""
    tensors = {f"densenet121.{name}": tensor for name, tensor in old_names(densenet.state_dict()).items()}
    tensors["densenet121.classifier.0.weight"] = torch.ones(14, 1024)
    tensors["densenet121.classifier.0.bias"] = torch.ones(14)
    del tensors["densenet121.classifier.weight"], tensors["densenet121.classifier.bias"]
    model, reading, filled = imported(tensors, "densenet121")
    assert reading.kind == chexnet.KIND
    assert (reading.mean, reading.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert filled.missing == ("classifier.weight", "classifier.bias")
    with torch.no_grad():
        assert torch.equal(model.features(IMAGES), densenet.features(IMAGES).relu())  # timm rectifies within


@pytest.mark.parametrize("by_number", [False, True])
def test_qings_doubled_network_is_taken_once(densenet, by_number):
    features = densenet.features.state_dict()
    children = [name for name, _ in densenet.features.named_children()]

    def copied(name):
        child, _, rest = name.partition(".")
        return f"cnn_features.{children.index(child)}.{rest}" if by_number else f"cnn_features.{name}"

    tensors = {f"base_model.features.{name}": tensor for name, tensor in features.items()}
    tensors |= {copied(name): tensor.clone() for name, tensor in features.items()}
    tensors |= {"base_model.classifier.weight": torch.ones(1000, 1024), "projection.weight": torch.ones(512, 1024)}
    assert len(features) == 725
    model, reading, filled = imported(tensors, "densenet121")
    assert reading.kind == qing.KIND
    assert filled.unexpected == ("projection.weight",)
    with torch.no_grad():
        assert torch.equal(model.features(IMAGES), densenet.features(IMAGES).relu())  # timm rectifies within
    tensors[copied("norm5.bias")] = torch.zeros(1024)
    with pytest.raises(ModelError, match=r"must be equal. Got 1 differing tensors: norm5.bias. Save one of the two"):
        qing.convert(tensors, "densenet121")


def test_resnet18_of_torchvision():
    source = network(torchvision.models.resnet18(num_classes=5))
    model, _, filled = imported(source.state_dict(), "resnet18")
    assert_equal_logits(source, model)
    assert not filled.missing


def test_efficientnet_v2_of_torchvision():
    source = network(torchvision.models.efficientnet_v2_s(num_classes=5))
    model, reading, filled = imported(source.state_dict(), "efficientnetv2_s", bn_eps=1e-3)
    assert_equal_logits(source, model)
    assert (filled.missing, filled.unexpected) == ((), ())
    assert "model.args.bn_eps=0.001" in reading.notes[0]
    with pytest.raises(ModelError, match="Use --as efficientnetv2_s"):
        convert(source.state_dict(), "tf_efficientnetv2_s.in1k", model)


def authors_names(tensors):
    """timm's names of a ConvNeXtV2 as its authors have them."""
    named = {}
    for old, tensor in tensors.items():
        new = re.sub(r"^stem\.", "downsample_layers.0.", old)
        new = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", new)
        new = re.sub(r"^stages\.(\d)\.blocks\.", r"stages.\1.", new)
        new = new.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("head.fc.", "head.")
        new = new.replace("head.norm.", "norm.")
        new = new.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
        named[new] = tensor.view(1, 1, 1, -1) if "grn" in new else tensor
    return named


def test_convnextv2_in_its_authors_names():
    source = network("convnextv2_atto")
    tensors = authors_names(source.state_dict())
    assert {"downsample_layers.0.0.weight", "stages.2.5.grn.gamma", "stages.0.0.pwconv1.weight", "norm.bias"} <= set(
        tensors
    )
    model, reading, filled = imported(tensors, "convnextv2_atto")
    assert_equal_logits(source, model)
    assert (filled.missing, filled.unexpected) == ((), ())
    theirs = convnext.checkpoint_filter_fn(dict(tensors), source)
    assert theirs.keys() == reading.tensors.keys()
    assert all(torch.equal(theirs[name], reading.tensors[name]) for name in theirs)


def test_a_donors_checkpoint_goes_into_the_variant():
    """A ConvNeXt-Tiny in timm's names, for the family that starts from one; and as a part of a larger network."""
    with torch.device("meta"):
        names = timm.create_model("convnext_tiny").state_dict()
    torch.manual_seed(0)
    tensors = {name: torch.rand(tensor.shape) for name, tensor in names.items()}
    part = {f"net.backbone.{name}": tensor for name, tensor in tensors.items()} | {"net.head.0.weight": torch.ones(3)}
    model, reading, filled = imported(part, "chiron_h_coatnet")
    assert torch.equal(model.stages[3].blocks[2].conv_dw.weight, tensors["stages.3.blocks.2.conv_dw.weight"])
    assert reading.kind.startswith("names of the model, below net.backbone")
    plain = convert(tensors, "chiron_h_coatnet", model)
    assert all(torch.equal(plain.tensors[name], reading.tensors[name]) for name in filled.matched)
    assert "net.head.0.weight" in reading.outside
    assert set(filled.missing) >= {"pos_embed", "head.weight"}


def test_a_network_within_another_is_found_below_its_prefix():
    source = network("test_vit", num_classes=0)
    tensors = {f"stem.vit.{name}": tensor for name, tensor in source.state_dict().items()}
    tensors["fusion.cls"] = torch.ones(3)
    model, reading, filled = imported(tensors, "test_vit", img_size=160)
    assert torch.equal(model.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    assert reading.kind == "names of the model, below stem.vit"
    assert (reading.outside, filled.missing) == (("fusion.cls",), ("head.weight", "head.bias"))


def test_running_averages_of_a_batch_are_left_out():
    """Their shape is (batch, tokens) of the last batch: what a fresh GFT refuses to load."""
    source = network("test_vit")
    tensors = {**source.state_dict(), "gala.0.ema": torch.ones(24, 197), "gala.1.score_ema": torch.ones(24, 148)}
    _, reading, filled = imported(tensors, "test_vit", img_size=160)
    assert gft.recognizes(tensors)
    assert not gft.recognizes({"ema.weight": torch.ones(2, 2), "ema": torch.ones(3)})
    assert not filled.missing
    assert set(gft.convert(tensors, "test_vit")) == set(source.state_dict())
    assert reading.tensors.keys() >= set(source.state_dict())


def test_another_network_is_refused():
    source = network("test_resnet")
    with pytest.raises(ModelError, match=r"must have names of the network. Got conv1.0.weight"):
        imported({name: t for name, t in source.state_dict().items() if name.startswith("conv1")}, "test_vit", 160)
    tensors = {**source.state_dict(), "fc.weight": torch.ones(7, 3)}
    with pytest.raises(ModelError, match=r"shapes of made up must be those of the network. Got fc.weight \(7, 3\) for"):
        imported(tensors, "test_resnet")


@pytest.mark.parametrize("name", leaf_names("chiron.models.weights.importing"))
def test_every_kind_of_checkpoint_says_what_it_is(name):
    leaf = load_leaf("chiron.models.weights.importing", name, kind="kind of checkpoint")
    assert leaf.KIND
    assert (leaf.MEAN is None) == (leaf.STD is None)
    assert not leaf.recognizes(network("test_resnet").state_dict())
    assert not leaf.recognizes({})
