"""Every nano variant learns phantom radiographs: in fp32, in bf16, and 32 of them by heart."""

import functools
import math

import pytest
import timm
import torch
from torch.nn.functional import cross_entropy

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.models.create import create_model, takes_mask
from chiron.models.registry import chiron_model_names

NUM_IMAGES, BATCH, STEPS = 32, 16, 30


@functools.cache
def phantoms(img_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images around 0, lung masks, and labels in equal parts."""
    drawn = draw_phantom_cxr(num_images=4 * NUM_IMAGES, img_size=img_size, seed=0, difficulty=0.2)
    labels = torch.from_numpy(drawn.targets).long()
    chosen = torch.stack([torch.where(labels == label)[0][: NUM_IMAGES // 2] for label in (0, 1)], dim=1).flatten()
    images = torch.from_numpy(drawn.images)[chosen, None].expand(-1, 3, -1, -1).float().div(255).sub(0.5).div(0.25)
    return images, torch.from_numpy(drawn.masks["lungs"])[chosen, None].float(), labels[chosen]


def network(
    name: str, lr: float
) -> tuple[torch.nn.Module, torch.optim.Optimizer, tuple[torch.Tensor, ...], torch.Tensor]:
    img_size = timm.models.get_pretrained_cfg(name).input_size[-1]
    model = create_model(name, num_classes=2, img_size=img_size, init="scratch", seed=0)
    images, masks, labels = phantoms(img_size)
    inputs = (images, masks) if takes_mask(model) else (images,)
    return model, torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01), inputs, labels


def step(model, optimizer, inputs, labels) -> float:
    loss = cross_entropy(model(*inputs).float(), labels)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", chiron_model_names("*_nano"))
def test_the_loss_falls(name, precision):
    torch.manual_seed(0)
    model, optimizer, inputs, labels = network(name, lr=1e-3)
    losses = []
    for number in range(STEPS):
        part = slice(0, BATCH) if number % 2 else slice(BATCH, 2 * BATCH)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            losses.append(step(model, optimizer, [each[part] for each in inputs], labels[part]))
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < sum(losses[:5]), losses


@pytest.mark.slow
@pytest.mark.parametrize("name", chiron_model_names("*_nano"))
def test_learns_32_images_by_heart(name):
    torch.manual_seed(0)
    model, optimizer, inputs, labels = network(name, lr=1e-3)
    accuracy = 0.0
    for number in range(400):
        part = slice(0, BATCH) if number % 2 else slice(BATCH, 2 * BATCH)
        step(model.train(), optimizer, [each[part] for each in inputs], labels[part])
        if number % 20 == 19:
            with torch.no_grad():
                accuracy = (model.eval()(*inputs).argmax(dim=1) == labels).float().mean().item()
            if accuracy >= 0.95:
                break
    assert accuracy >= 0.95
