"""Every packaged recipe validates, is headed by what it trains, and makes two steps on synthetic data."""

import numpy as np
import pytest
import torch

from chiron.bundle import NetworkSpec
from chiron.classifier import build_network
from chiron.core.registry import load_leaf
from chiron.preprocess.finish import Finish
from chiron.spec.labels import LabelSpace
from chiron.spec.library import packaged_recipes
from chiron.workflows.check import check_recipe

NUM_RECIPES = 10


def test_number_of_recipes():
    """A recipe that is not packaged, or lies in the wrong folder, is noticed."""
    assert len(packaged_recipes()) == NUM_RECIPES


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipe(name):
    recipe = check_recipe(name)
    text = packaged_recipes()[name]
    for heading in ("# What:", "# Data:", "# Command:", "# Expected:"):
        assert heading in text, heading
    assert f"chiron train {name.rsplit('.', 1)[0]} " in text
    assert name.rsplit(".", 1)[1] in {"documented", "code", "paper", "corrected", "own"}

    positive = recipe.labels.positive or "a"
    labels = LabelSpace(names=tuple(sorted({positive, "zz"})), positive=positive)
    network = NetworkSpec(
        name=recipe.model.name, args=recipe.model.args, head=recipe.model.head, head_args=recipe.model.head_args
    )
    model = build_network(network, recipe.input, labels)
    loss = load_leaf("chiron.engine.losses", recipe.train.loss, kind="loss")
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.train.lr)
    random = np.random.default_rng(0)
    size = recipe.input.stored_size
    pixels = torch.from_numpy(random.integers(0, 256, (4, recipe.input.stored_chans, size, size), dtype=np.uint8))
    targets = loss.make_targets(torch.tensor([0, 1, 0, 1]), labels)
    for _ in range(2):
        value = loss.loss(model(*Finish(recipe.input)(pixels)), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        assert torch.isfinite(value)
