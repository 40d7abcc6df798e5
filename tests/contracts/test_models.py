"""Every registered nano variant, and timm's smallest models, keep the model contract."""

from itertools import cycle

import pytest
import timm

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.core.registry import leaf_names
from chiron.models.contract import check_model
from chiron.models.registry import chiron_model_names

ALL = {"seed", "forward", "gradients", "batch", "save", "classifier", "checkpointing", "export"}


@pytest.mark.parametrize("name", chiron_model_names("*_nano"))
def test_chiron_family(name):
    assert set(check_model(name)) == ALL | {"cam_layer", "named_stages", "named_outputs"}


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_resnet", "test_vit"])
def test_timm_model(name):
    assert set(check_model(name, img_size=64)) == ALL


LAYOUTS = ["test_mambaout", "test_vit", "test_convnext2", "test_resnet"]  # every head meets another one
SMALL = {"class_token": {"embed_dim": 16, "num_heads": 2, "ffn_dim": 16}}


@pytest.mark.parametrize(("head", "name"), list(zip(leaf_names("chiron.models.heads"), cycle(LAYOUTS), strict=False)))
def test_head(head, name):
    passed = check_model(name, img_size=64, head=head, head_args=SMALL.get(head))
    assert set(passed) == ALL | {"cam_layer", "named_stages", "named_outputs"}


def test_sequence_of_one():
    assert "gradients" in check_model("test_resnet", img_size=64, head="acrnn", head_args={"sequence": False})


def test_every_family_has_a_nano_variant():
    files = {name: timm.model_entrypoint(name).__module__ for name in chiron_model_names()}
    assert {files[name] for name in chiron_model_names("*_nano")} == set(files.values())
