"""Heads on backbones of every layout: what they read, what stays of the backbone, and messages."""

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.create import create_model
from chiron.models.headed import HeadedModel, make_head, put_head

SMALL = {"embed_dim": 16, "num_heads": 2, "ffn_dim": 16, "depth": 1}
SIZES = {"num_classes": 3, "in_chans": 3, "img_size": 64}


def make(name, head, head_args=None, **changes):
    arguments = {"num_classes": 3, "img_size": 64, "init": "scratch", "seed": 0, **changes}
    return create_model(name, head=head, head_args=head_args, **arguments)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_mambaout", "test_vit", "mobilenetv3_small_050"])
def test_linear_is_what_timm_does(name):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=3, **({"img_size": 64} if name == "test_vit" else {})).eval()
    ours = make(name, "linear").eval()
    state = theirs.state_dict()
    classifier = next(each for each, layer in theirs.named_modules() if layer is theirs.get_classifier())
    renamed = {
        key.replace(classifier, "head.classifier") if key.startswith(classifier + ".") else f"backbone.{key}": tensor
        for key, tensor in state.items()
    }
    ours.load_state_dict(renamed)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert (ours(images) - theirs(images)).abs().max() <= 1e-6


def read_by(model, images):
    """What the head was given."""
    seen = []
    handle = model.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "places", "width"),
    [("test_resnet", 4, 96), ("test_mambaout", 4, 256), ("test_vit", 16, 64), ("mobilenetv3_small_050", 4, 1024)],
)
def test_tokens_are_the_places_along_the_rows(name, places, width):
    model = make(name, "class_token", SMALL)
    images = torch.randn(2, 3, 64, 64)
    tokens = read_by(model, images)
    assert tokens.shape == (2, places, width)
    with torch.no_grad():
        maps = model.backbone.forward_head(model.forward_features(images), pre_logits=True)
    if name == "test_vit":  # the class token is left out
        assert torch.equal(tokens, maps[:, 1:])
    elif name == "test_mambaout":  # channels last
        assert torch.equal(tokens[:, 1], maps[:, 0, 1])
        assert torch.equal(tokens[:, 2], maps[:, 1, 0])
    else:
        assert torch.equal(tokens[:, 1], maps[:, :, 0, 1])
        assert torch.equal(tokens[:, 2], maps[:, :, 1, 0])


def small_swin():
    return SwinTransformer(
        img_size=64, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), num_classes=9, drop_path_rate=0.0
    )


@pytest.mark.parametrize("head", ["linear", "simple", "acrnn", "class_token"])
def test_swin_has_its_channels_last(head):
    torch.manual_seed(0)
    model = put_head(small_swin(), head, SMALL if head == "class_token" else None, **SIZES)
    model(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert model.cam_layer is None
    assert list(model.named_stages()) == ["stem", "stage1", "stage2", "head"]


def test_attention_is_shown():
    images = torch.randn(2, 3, 64, 64)
    (attn,) = make("test_resnet", "class_token", SMALL).eval().forward_named(images).attn
    assert attn.shape == (2, 2, 5, 5)
    output = make("test_vit", "acrnn").eval().forward_named(images)
    assert output.attn[0].shape == (2, 1, 1, 16)
    assert make("test_vit", "simple").eval().forward_named(images).attn == ()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("test_resnet", "backbone.layer4"),
        ("test_convnext", "backbone.stages"),
        ("test_efficientnet", "backbone.bn2"),
        ("chiron_fair_cnn_nano", "backbone.stages.1"),
        ("test_vit", None),
        ("test_mambaout", None),
    ],
)
def test_cam_layer_gives_the_last_map(name, layer):
    assert make(name, "linear").cam_layer == layer


def test_weights_are_a_function_of_the_seed_and_the_head():
    first, again, other = (make("test_resnet", "simple", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.head.layers[1].weight, again.head.layers[1].weight)
    assert not torch.equal(first.head.layers[1].weight, other.head.layers[1].weight)
    plain = make("test_resnet", None)
    assert torch.equal(first.backbone.conv1[0].weight, plain.conv1[0].weight)


def test_a_family_with_a_head_takes_another():
    model = make("chiron_effnetv2_nano", "acrnn", {"sequence": False})
    assert type(model).__name__ == "EffNetV2"
    assert not hasattr(model.backbone, "backbone")
    assert model.parameters_not_learned == ("head.lstm.weight_hh_l0", "head.attention.score.weight")
    assert "last_conv" in model.named_stages()


def test_pooling_comes_back_under_a_head_that_reads_a_vector():
    model = make("chiron_densenet_transformer_nano", "linear").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        vector = model.forward_features(images).mean(dim=(2, 3))
        assert torch.allclose(model.forward_head(model.forward_features(images), pre_logits=True), vector, atol=1e-6)


def test_layer_groups_are_those_of_the_backbone():
    for name in ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]:
        plain = timm.create_model(name, num_classes=3)
        for coarse in (False, True):
            expected = group_parameters(plain, plain.group_matcher(coarse=coarse), reverse=True)
            headed = make(name, "linear")
            found = group_parameters(headed, headed.group_matcher(coarse=coarse), reverse=True)
            for parameter, layer in found.items():
                if parameter.startswith("backbone."):
                    assert layer == expected[parameter.removeprefix("backbone.")], parameter
            assert found["head.classifier.weight"] == max(found.values())


def test_decay_is_that_of_the_parts():
    model = make("test_vit", "class_token", SMALL)
    assert {"backbone.pos_embed", "head.class_token"} <= model.no_weight_decay()


def test_a_new_classifier_has_the_backbones_type():
    model = make("test_resnet", "linear").double()
    model.reset_classifier(0)
    model.reset_classifier(5)
    assert model(torch.zeros(2, 3, 64, 64, dtype=torch.float64)).shape == (2, 5)
    assert model.num_classes == 5


@pytest.mark.parametrize(
    ("name", "head", "head_args", "message"),
    [
        ("test_resnet", "acrn", None, "one of acrnn, class_token, linear, simple. Got 'acrn'. Did you mean 'acrnn'?"),
        ("test_resnet", "simple", {"drop_rat": 0.1}, "among drop_rate. Got 'drop_rat'. Did you mean 'drop_rate'?"),
        ("test_resnet", "acrnn", {"sequence": 1}, "model.head_args.sequence of acrnn must be of type bool. Got 1"),
        ("test_resnet", "class_token", {"depth": 1.5}, "model.head_args.depth of class_token must be of type int"),
        ("test_resnet", "class_token", {"depth": True}, "must be of type int. Got True"),
        ("test_resnet", "class_token", {"num_heads": 0}, "model.head_args.num_heads of class_token must be at least 1"),
        ("test_resnet", "class_token", {"depth": 0}, "must be at least 1. Got 0"),
        ("test_resnet", "simple", {"drop_rate": 2}, "must fit the head simple. Got {'drop_rate': 2}: dropout prob"),
        ("test_resnet", "class_token", {"num_heads": 7}, "multiple of num_heads. Got width 512 and 7 heads"),
        ("chiron_fair_cnn_nano", "acrnn", None, "needs a network that gives them unpooled. Got FairCNN"),
        ("deit_tiny_distilled_patch16_224", "acrnn", None, "Got features of shape (1, 192)"),
    ],
)
def test_mistakes_are_told(name, head, head_args, message):
    with pytest.raises(ModelError) as error:
        make(name, head, head_args)
    assert message in str(error.value)


def test_a_network_that_takes_a_mask_is_refused():
    class TakesMask(nn.Module):
        input_names = ("image", "mask")

    with pytest.raises(ModelError, match=r"takes an image alone. Got TakesMask"):
        put_head(TakesMask(), "linear", None, **SIZES)


def test_pooling_belongs_to_the_head():
    with pytest.raises(ModelError, match=r"global_pool belongs to the head here. Got 'max'"):
        make("test_resnet", "linear").reset_classifier(2, "max")


def test_a_headed_model_is_made_of_parts():
    backbone = timm.create_model("test_resnet")
    model = HeadedModel(backbone, make_head("linear", None, width=96, num_classes=3), cam_layer="layer4")
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"backbone", "head"}
    assert not list(backbone.get_classifier().parameters())
    assert (model.num_classes, model.num_features, model.head_hidden_size) == (3, 96, 96)
