"""The contract itself: each check must catch the network that breaks it."""

import copy
from functools import partial

import pytest
import torch
from timm.models import _registry
from torch import nn
from torch.utils.checkpoint import checkpoint

from chiron.core.errors import ModelError
from chiron.models.contract import check_model
from chiron.models.families.fair_cnn import FairCNN
from chiron.models.registry import register_model


class OfTheBatch(FairCNN):
    def forward_head(self, x, pre_logits=False):
        return super().forward_head(x - x.mean(dim=0), pre_logits)


class OtherForward(FairCNN):
    def forward(self, x):
        return 2 * super().forward(x)


class DeadParameter(FairCNN):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.unused = nn.Parameter(torch.zeros(1))

    def named_stages(self):
        return {"unused": ("unused",), **super().named_stages()}


class DeclaredDead(DeadParameter):
    parameters_not_learned = ("unused",)


class WronglyDeclared(FairCNN):
    parameters_not_learned = ("head.weight",)


class Unsaved(FairCNN):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = torch.rand(1)  # neither a parameter nor a buffer

    def forward_features(self, x):
        return super().forward_features(x) * self.scale


class NoReset(FairCNN):
    def reset_classifier(self, num_classes, global_pool=None):
        self.num_classes = num_classes


class DetachedMap(FairCNN):
    cam_layer = "side"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.side = nn.ReLU()

    def forward_features(self, x):
        x = super().forward_features(x)
        return x + 0 * self.side(x)


class DroppedPlaces(FairCNN):
    def forward_features(self, x):
        x = super().forward_features(x)
        return x * (torch.arange(x.shape[-1]) > 0)


class Homeless(FairCNN):
    def named_stages(self):
        return {"stage1": ("stages.0",), "head": ("head",)}


class FixedBatch(FairCNN):
    def forward_features(self, x):
        return super().forward_features(x) if x.shape[0] == 2 else 1.01 * super().forward_features(x)


class ConstantWeights(FairCNN):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        nn.init.constant_(self.head.weight, 0.1)
        for layer in self.stages.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.constant_(layer.weight, 0.1)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.head.bias)


class OtherDropoutAgain(FairCNN):
    def forward_features(self, x):
        drop = partial(nn.functional.dropout, training=self.training)
        x = super().forward_features(x)
        if not self.grad_checkpointing:
            return drop(x)
        return checkpoint(drop, x, use_reentrant=False, preserve_rng_state=False)


@pytest.fixture
def check(monkeypatch):
    for table in ["_model_entrypoints", "_model_to_module", "_module_to_models", "_model_default_cfgs"]:
        monkeypatch.setattr(_registry, table, copy.copy(getattr(_registry, table)))
    for table in ["_model_pretrained_cfgs", "_model_with_tags"]:
        monkeypatch.setattr(_registry, table, copy.copy(getattr(_registry, table)))

    def run(network):
        def chiron_broken(**kwargs):
            return network(dims=(4, 4, 6, 8), **kwargs)

        register_model(img_size=16, first_conv="stages.0.0.0")(chiron_broken)
        return check_model("chiron_broken")

    return run


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (OfTheBatch, "check batch: An image alone must equal itself in a batch"),
        (OtherForward, "check forward: forward must be forward_head of forward_features"),
        (DeadParameter, "check gradients: unused must have a gradient"),
        (WronglyDeclared, "check gradients: head.weight is in parameters_not_learned and must have no gradient"),
        (Unsaved, "check save: Loaded weights must give equal logits"),
        (NoReset, "check classifier: Outputs must be"),
        (OtherDropoutAgain, "check checkpointing: Checkpointing must not change the gradient of"),
        (DetachedMap, "check cam_layer: The CAM gradient must reach every place"),
        (DroppedPlaces, "check cam_layer: The CAM gradient must reach every place"),
        (Homeless, "check named_stages: stages.1.0.0.weight must be in one stage"),
        (FixedBatch, "check export: "),
        (ConstantWeights, "check seed: Other seeds must give other weights"),
    ],
)
def test_a_broken_network_is_caught(check, network, message):
    with pytest.raises(ModelError) as error:
        check(network)
    assert f"chiron_broken, {message}" in str(error.value)


@pytest.mark.parametrize("network", [FairCNN, DeclaredDead])
def test_a_sound_network_passes(check, network):
    assert "export" in check(network)
