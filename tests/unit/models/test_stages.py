"""Stages of timm's models, which do not name any themselves."""

import pytest
import timm
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.describe import describe_stages
from chiron.models.stages import is_below, named_stages


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("test_resnet", {"stem": "conv1", "stage1": "layer1", "stage4": "layer4", "head": "fc"}),
        ("test_vit", {"stem": "cls_token", "stage1": "blocks.0", "stage6": "blocks.5", "head": "head"}),
        ("test_efficientnet", {"stem": "conv_stem", "stage1": "blocks.0", "head": "classifier"}),
        ("test_convnext", {"stem": "stem", "stage1": "stages.0", "stage4": "stages.3", "head": "head.fc"}),
        ("test_mambaout", {"stem": "stem", "stage1": "stages.0", "head": "head.fc"}),
    ],
)
def test_stages_of_timm(name, stages):
    model = timm.create_model(name)
    found = named_stages(model)
    for stage, prefix in stages.items():
        assert any(each.startswith(prefix + ".") or each == prefix for each in found[stage]), (stage, found[stage])
    everything = [parameter for names in found.values() for parameter in names]
    assert sorted(everything) == sorted(name for name, _ in model.named_parameters())
    assert list(found) == ["stem", *(f"stage{i}" for i in range(1, len(found) - 1)), "head"]


def test_both_classifiers_of_a_distilled_model_are_the_head():
    head = named_stages(timm.create_model("deit_tiny_distilled_patch16_224"))["head"]
    assert {"head.weight", "head_dist.weight"} <= set(head)
    assert not any(name.startswith("blocks") for name in head)


def test_a_classifier_that_the_matcher_names_is_the_head_all_the_same():
    class Matched(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.body, self.fc = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)

        def get_classifier(self):
            return self.fc

        def group_matcher(self, coarse):
            return {"stem": "^stem", "body": "^body|^fc"}

    assert named_stages(Matched()) == {
        "stem": ("stem.weight", "stem.bias"),
        "stage1": ("body.weight", "body.bias"),
        "head": ("fc.weight", "fc.bias"),
    }


def test_a_family_names_its_own():
    assert list(named_stages(timm.create_model("chiron_fair_cnn_nano"))) == ["stage1", "stage2", "head"]


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "chiron_h_coatnet_nano", "chiron_densenet_transformer_nano"]
)
def test_described_stages_hold_every_parameter_once(name):
    model = timm.create_model(name, num_classes=2)
    stages = describe_stages(name)
    assert [stage.name for stage in stages] == list(named_stages(model))
    assert sum(stage.num_parameters for stage in stages) == sum(parameter.numel() for parameter in model.parameters())
    for parameter, _ in model.named_parameters():
        assert sum(is_below(parameter, stage.prefixes) for stage in stages) == 1, parameter


def test_described_stages_are_short():
    stages = {stage.name: (stage.num_parameters, stage.prefixes) for stage in describe_stages("resnet18")}
    assert stages["stage4"] == (8_393_728, ("layer4",))
    assert stages["stem"] == (9_536, ("conv1", "bn1"))
    assert stages["head"] == (1_026, ("fc",))


def test_a_model_without_stages_is_told():
    with pytest.raises(ModelError, match=r"A model must say its stages.* Got Linear"):
        named_stages(nn.Linear(1, 1))
