"""create_model: names, arguments, seeds, weights; no test needs a network."""

import socket

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from chiron.core.errors import ModelError
from chiron.models.create import create_model, list_models
from chiron.models.describe import count_macs, describe_model
from chiron.models.weights import pretrained
from chiron.models.weights.pretrained import imagenet_config


def make(name, **changes):
    return create_model(name, **{"num_classes": 3, "img_size": 64, "init": "scratch", "seed": 0, **changes})


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", ["chiron_h_coatnet_nano", "test_vit", "test_resnet"])
def test_weights_are_a_function_of_the_seed(name):
    torch.manual_seed(5)
    first = weights(make(name))
    after = torch.rand(3)
    torch.manual_seed(6)
    assert torch.equal(weights(make(name)), first)
    assert not torch.equal(weights(make(name, seed=1)), first)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after), "the global random state must stay"


def test_a_model_comes_on_the_cpu_in_training_mode():
    with torch.device("meta"):
        model = make("test_resnet")
    assert model.training
    assert {p.device.type for p in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(("name", "patches"), [("test_vit", 9), ("chiron_h_coatnet_nano", 36)])
def test_img_size_reaches_the_models_that_take_it(name, patches):
    model = make(name, img_size=48)
    pos_embed = model.pos_embed.shape[1] - getattr(model, "num_prefix_tokens", 0)
    assert pos_embed == patches


def test_channels_and_arguments_are_passed_on():
    model = make("test_resnet", in_chans=1, drop_rate=0.3)
    assert next(model.parameters()).shape[1] == 1
    assert model.drop_rate == 0.3


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("chiron_h_coatnet_nan", {}, "Got 'chiron_h_coatnet_nan'. Did you mean 'chiron_h_coatnet_nano'?"),
        ("zzzz", {}, "Got 'zzzz'. `chiron models` lists"),
        ("test_resnet.typo", {}, "one of test_resnet's (r160_in1k). Got 'typo'"),
        ("test_resnet", {"width": 3}, "The arguments of test_resnet must be ones that it takes. Got 'width'"),
        ("chiron_fair_cnn", {"img_sise": 3}, "Got 'img_sise'"),
        ("chiron_h_coatnet_nano", {"img_size": 100}, "multiples of 16 pixels. Got 100 x 100"),
        ("chiron_convnextv2_ssa_nano", {"dims": [16, 32]}, "must fit together. Got num_classes=3"),
        ("test_vit", {"num_heads": 0}, "must fit together. Got num_classes=3"),
        ("test_vit", {"embed_dim": 65}, "The arguments of test_vit must fit together. Got num_classes=3"),
        ("test_resnet", {"init": "random"}, "init must be 'scratch', 'imagenet' or 'imported'. Got 'random'"),
        ("test_resnet", {"num_classes": 0}, "at least one class and one channel. Got num_classes 0"),
        ("chiron_fair_cnn", {"init": "imagenet"}, "needs a model with ImageNet weights. Got 'chiron_fair_cnn'"),
    ],
)
def test_mistakes_are_told(name, changes, message):
    with pytest.raises(ModelError) as error:
        make(name, **changes)
    assert message in str(error.value)


def test_a_model_without_logits_is_refused():
    with pytest.raises(ModelError, match=r"logits of shape \(1, 3\) for one image. Got list from test_resnet"):
        make("test_resnet", features_only=True)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty cache in a temporary folder."""

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put_in_cache(cache, repository, data):
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(data)


def test_imagenet_weights_offline_are_one_clear_sentence(offline):
    with pytest.raises(ModelError) as error:
        make("test_resnet", init="imagenet")
    assert str(error.value) == (
        "The ImageNet weights of test_resnet.r160_in1k must be in the cache or to be had. Got no network. "
        f"Run `hf download timm/test_resnet.r160_in1k` where there is a network and copy it to {offline} here, "
        "or ask for random weights by name (init: scratch)."
    )


def test_imagenet_weights_from_the_cache(offline):
    stand_in = create_model("test_resnet", num_classes=1000, img_size=64, init="scratch", seed=9)
    put_in_cache(offline, "timm/test_resnet.r160_in1k", safetensors.torch.save(stand_in.state_dict()))
    model = make("test_resnet", init="imagenet")
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, stand_in.state_dict()[name]), name
    assert model.fc.weight.shape[0] == 3
    assert torch.equal(model.fc.weight, make("test_resnet", init="imagenet").fc.weight)
    assert not torch.equal(model.fc.weight, make("test_resnet", init="imagenet", seed=1).fc.weight)


def test_damaged_weights_are_told(offline):
    put_in_cache(offline, "timm/test_resnet.r160_in1k", b"no tensors")
    with pytest.raises(
        ModelError, match=r"weights of test_resnet.r160_in1k must be in the cache or to be had. Got Error"
    ):
        make("test_resnet", init="imagenet")


def test_which_imagenet_weights():
    assert imagenet_config("resnet18").tag == "a1_in1k"
    assert imagenet_config("resnet18.tv_in1k").tag == "tv_in1k"
    with pytest.raises(ModelError, match="Got 'vit_small_patch14_dinov2', which has none"):
        imagenet_config("vit_small_patch14_dinov2")
    with pytest.raises(ModelError, match=r"Got 'dinov3_lvd1689m' of convnext_tiny. Choose one of in12k_ft_in1k"):
        imagenet_config("convnext_tiny.dinov3_lvd1689m")


def test_description():
    told = describe_model("chiron_fair_cnn_nano", num_classes=2)
    assert (told.num_parameters, told.img_size, told.weight_tags) == (12_042, 96, {})
    full, half = 96 * 96, 48 * 48
    macs = 9 * (full * (3 * 8 + 8 * 16) + half * (16 * 24 + 24 * 32)) + 32 * 2
    assert told.num_macs == macs
    assert describe_model("test_vit").weight_tags == {"r160_in1k": "apache-2.0"}


def test_attention_is_counted():
    model = make("chiron_h_coatnet_nano", img_size=48)
    without = make("chiron_h_coatnet_nano", img_size=48, token_depth=0)
    tokens, width = 36, 48
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    assert count_macs(model, 3, 48) - count_macs(without, 3, 48) == 2 * block
    assert model.training


def test_list_has_chiron_first_and_no_name_twice():
    names = list_models()
    assert names[0].startswith("chiron_")
    assert "resnet18" in names
    assert len(set(names)) == len(names)
    assert list_models("chiron_fair*") == ["chiron_fair_cnn", "chiron_fair_cnn_nano"]
