"""Every packaged recipe validates, is headed by what it trains, and makes two steps on synthetic data."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from recipe_pages import header, missing

from chiron.classifier import build_network
from chiron.core.errors import ModelError, SpecError
from chiron.core.registry import load_leaf
from chiron.engine.criterion import make_criterion
from chiron.engine.freezing import apply_freezing
from chiron.engine.mixing import draw_mix
from chiron.preprocess.finish import Finish
from chiron.spec.bundle_spec import network_of
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.library import find_recipe, packaged_recipes
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import Recipe
from chiron.workflows.check import check_recipe, recipe_warnings

NUM_RECIPES = 52
READINGS = {"documented", "code", "paper", "corrected", "own"}
RECIPES = packaged_recipes()


def test_number_of_recipes():
    """A recipe that is not packaged, or lies in the wrong folder, is noticed."""
    assert len(RECIPES) == NUM_RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_header(name):
    said = header(RECIPES[name])
    reading = name.rsplit(".", 1)[1]
    assert reading in READINGS
    assert {"What", "Data", "Command", "Expected"} <= set(said)
    assert ("Claimed" in said) == (reading != "own"), "who follows a system says what that claims"
    command = re.search(r"chiron train (\S+) ", said["Command"])
    assert command
    assert find_recipe(command[1])[0] == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_selecting_loss_without_the_class_weights_of_training_is_told(name):
    train = read_recipe(name).train
    if train.select_by == "loss" and train.class_weights != "none":
        assert "loss of val that selects and stops is without class weights" in header(RECIPES[name])["Differs"]


@pytest.mark.parametrize("name", RECIPES)
def test_valid_and_without_warnings_where_it_is_ours(name):
    warnings = recipe_warnings(check_recipe(name))
    assert not warnings or name.rsplit(".", 1)[1] in {"documented", "code", "paper"}


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_said_to_be_missing_is(name):
    """A setting that this version has got belongs into the body, not into the header."""
    for setting in missing(RECIPES[name]):
        with pytest.raises(SpecError):
            read_recipe(name, (setting,))


def test_the_fair_protocol_differs_in_the_network_alone():
    fair = [yaml.safe_load(text) for name, text in RECIPES.items() if re.match(r"ichthyosis/.*\.corrected", name)]
    assert len(fair) == 8
    assert len({recipe["model"].pop("name") for recipe in fair}) == 8
    for recipe in fair:
        recipe.pop("about")
        assert recipe["model"].pop("args", {}) in ({}, {"drop_path_rate": 0}), "no network is regularized more"
        assert recipe == fair[0]


def test_no_reading_switches_grouping_off():
    """Splits are asked for in shares or kept; no recipe accepts a leak."""
    for name in RECIPES:
        assert read_recipe(name).data.accept_leaks == ()


def what_a_step_sees(name: str) -> str:
    """The parts of a recipe that decide a step: those that agree in them are tried once, as some networks are large."""
    recipe = read_recipe(name)
    network = recipe.model.model_dump(exclude={"init", "weights"})
    leaf = load_leaf("chiron.engine.losses", recipe.train.loss, kind="loss")
    keys = ("loss", *leaf.OPTIONS, "mixup_alpha", "cutmix_alpha", "segmentation_weight", "attention_weight", "freeze")
    loss = {key: getattr(recipe.train, key) for key in keys}
    return repr((network, recipe.input.img_size, recipe.input.stored_chans, recipe.labels, loss))


def differing_steps() -> list[Any]:
    """A recipe a step that differs; large networks are slow where a smaller one of the family is tried by default."""
    large = {
        "ham10000/effnetv2_l.documented",
        "ham10000/effnetv2_m.documented",
        "isic2019/convnextv2_ssa.documented",
        "pediatric_cxr/hybrid_lung_vit.corrected",
        "pediatric_cxr/hybrid_lung_vit.documented",
    }
    names = {what_a_step_sees(name): name for name in RECIPES}.values()
    assert large <= set(names)
    return [pytest.param(name, marks=[pytest.mark.slow] if name in large else []) for name in names]


@pytest.mark.parametrize("name", differing_steps())
def test_two_steps(name):
    recipe = read_recipe(name)
    labels = label_space(recipe)
    model, spec = small_network(recipe, labels)
    y_train = np.array([0, 1, 0, 1, *range(len(labels.names))])  # class weights want every class
    criterion = make_criterion(recipe.train, y_train, labels, torch.device("cpu"))
    mix = draw_mix(recipe.train, epoch=recipe.train.mix_from_epoch, step=0)
    apply_freezing(model, recipe.train.freeze, epoch=0)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3)  # the only one that keeps nothing beside 118 M weights
    random = np.random.default_rng(0)
    shape = (4, spec.stored_chans, spec.stored_size, spec.stored_size)
    pixels = torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))
    images, *mask = Finish(spec)(pixels)
    images, own_share = (images, 1.0) if mix is None else mix.apply(images)
    values = []
    for _ in range(2):
        value = criterion.loss(model(images, *mask), torch.arange(4), own_share=own_share)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert np.isfinite(values).all()
    assert values[0] != values[1], "nothing was learned"


def label_space(recipe: Recipe) -> LabelSpace:
    """The recipe's classes, or two where only the data knows them."""
    given = recipe.labels
    names = given.names or tuple(given.descriptions) or ("a", "b")
    positive = given.positive or (names[0] if len(names) == 2 else None)
    return LabelSpace(names=names, positive=positive, one_logit=given.one_logit)


def small_network(recipe: Recipe, labels: LabelSpace) -> tuple[torch.nn.Module, InputSpec]:
    """The recipe's network for the smallest input that it takes, so that large ones are cheap; and that input."""
    model = recipe.model
    network = network_of(model)
    sizes = sorted({min(size, recipe.input.img_size) for size in (64, 96, recipe.input.img_size)})
    for size in sizes:
        spec = recipe.input.model_copy(update={"img_size": size, "canonical_size": None})
        try:
            return build_network(network, spec, labels), spec
        except ModelError:
            if size == recipe.input.img_size:
                raise
    raise AssertionError("unreachable: the last size is the recipe's own")
