"""Weights that are here as a file give the same logits imported as loaded by timm."""

import pytest
import timm
import torch
from safetensors.torch import load_file

from chiron.models.create import create_model
from chiron.workflows.weights import import_weights

pytestmark = pytest.mark.realdata


@torch.no_grad()
def test_mobilenet_v2(real_data, tmp_path):
    file = real_data / "weights" / "mobilenet_v2_imagenet_q8.timm.safetensors"
    done = import_weights(file, "mobilenetv2_100", tmp_path / "mobilenet.safetensors")
    assert (done.num_classes, done.unexpected, len(done.matched)) == (1000, (), 262)
    assert {name.rpartition(".")[2] for name in done.missing} == {"num_batches_tracked"}
    by_timm = timm.create_model("mobilenetv2_100").eval()
    by_timm.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()}, strict=False)
    own = create_model(
        "mobilenetv2_100", num_classes=1000, img_size=224, init="imported", weights=str(done.path), seed=4
    )
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(own.eval()(images), by_timm(images))
    assert own.weights_origin.num_drawn == 0
