"""register_model: what timm's own decorator lets through."""

import copy

import pytest
import timm
import torch
from timm.models import _registry
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.registry import chiron_model_names, register_model

_TABLES = ["_model_entrypoints", "_model_to_module", "_module_to_models", "_model_default_cfgs"]
_TABLES += ["_model_pretrained_cfgs", "_model_with_tags"]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    for table in _TABLES:
        monkeypatch.setattr(_registry, table, copy.copy(getattr(_registry, table)))


class Net(nn.Module):
    def __init__(self, num_classes: int = 1000, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, num_classes)


def entry(name: str):
    def build(**kwargs):
        return Net(**kwargs)

    build.__name__ = name
    return build


def test_a_registered_model_is_built_by_timm():
    register_model(img_size=64, first_conv="conv")(entry("chiron_example"))
    assert "chiron_example" in chiron_model_names("ex*")
    model = timm.create_model("chiron_example", num_classes=7, width=6, cache_dir="elsewhere")
    assert model.head.weight.shape == (7, 6)
    assert model.pretrained_cfg["input_size"] == (3, 64, 64)
    assert model.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)
    assert model.pretrained_cfg["std"] == (0.229, 0.224, 0.225)
    assert (model.pretrained_cfg["first_conv"], model.pretrained_cfg["classifier"]) == ("conv", "head")
    assert model.pretrained_cfg["architecture"] == "chiron_example"
    assert model.default_cfg is model.pretrained_cfg
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, 64, 64)


def test_overlay_reaches_the_config():
    register_model(img_size=64, first_conv="conv")(entry("chiron_example"))
    model = timm.create_model("chiron_example", pretrained_cfg_overlay={"crop_pct": 0.5})
    assert model.pretrained_cfg["crop_pct"] == 0.5


def test_the_prefix_is_demanded():
    with pytest.raises(ModelError, match=r"must start with chiron_. Got 'example'"):
        register_model(img_size=64, first_conv="conv")(entry("example"))


def test_a_taken_name_is_refused_and_the_first_stays():
    first = register_model(img_size=64, first_conv="conv")(entry("chiron_example"))
    with pytest.raises(ModelError, match=r"must be free. Got 'chiron_example'"):
        register_model(img_size=64, first_conv="conv")(entry("chiron_example"))
    assert timm.model_entrypoint("chiron_example") is first


def test_pretrained_without_weights_is_an_error():
    with pytest.raises(ModelError, match=r"weights must exist for the model. Got 'chiron_fair_cnn', which has none"):
        timm.create_model("chiron_fair_cnn", pretrained=True)


def test_families_keep_their_input_size():
    sizes = {name: timm.models.get_pretrained_cfg(name).input_size for name in chiron_model_names("h_coatnet*")}
    assert sizes == {
        "chiron_h_coatnet": (3, 224, 224),
        "chiron_h_coatnet_corrected": (3, 224, 224),
        "chiron_h_coatnet_corrected_nano": (3, 96, 96),
        "chiron_h_coatnet_nano": (3, 96, 96),
    }
    assert isinstance(timm.create_model("chiron_fair_cnn_nano", num_classes=2).head, torch.nn.Linear)
