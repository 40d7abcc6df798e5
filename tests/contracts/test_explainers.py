"""Every explainer keeps the contract with every Chiron family, and those that read a layer with every timm `test_*`."""

from functools import lru_cache

import pytest
import timm
import torch

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.core.errors import ExplainError
from chiron.core.registry import load_leaf
from chiron.explanation.contract import check_explainer
from chiron.explanation.explain import EXPLAINERS, explainer_names
from chiron.explanation.subject import Subject
from chiron.models.create import create_model, example_inputs
from chiron.models.registry import chiron_model_names
from chiron.spec.labels import LabelSpace

FAMILIES = chiron_model_names("*_nano")
LAYER_MAPS = ["eigen_cam", "feature_maps", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "score_cam"]
LABELS = LabelSpace(names=("a", "b", "c"))


@lru_cache(maxsize=None)
def subject_of(model: str) -> Subject:
    network = create_model(model, num_classes=3, img_size=64, init="scratch", seed=0).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Subject(network, example_inputs(network, images), torch.tensor([0, 1]), LABELS)


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("name", explainer_names())
def test_family(name, model):
    reason = check_explainer(name, subject_of(model))
    assert reason is None or name not in LAYER_MAPS


@pytest.mark.slow
@pytest.mark.parametrize("model", timm.list_models("test_*"))
@pytest.mark.parametrize("name", LAYER_MAPS)
def test_timm_model(name, model):
    assert check_explainer(name, subject_of(model)) is None
