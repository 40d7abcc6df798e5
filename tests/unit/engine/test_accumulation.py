"""A batch that goes through the network in parts teaches what it teaches as a whole."""

import functools

import pytest
import torch
from conftest import TINY_RECIPE, write_class_folders

from chiron.engine import fit as loop
from chiron.engine import step as one_step
from chiron.engine.compute import ComputeMode
from chiron.engine.runtime import start_runtime
from chiron.engine.setup import set_up
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare

# A network with layer norm and without dropout; plain gradient descent, since Adam turns rounding into steps.
COMMON = (
    "model.name=test_vit",
    "train.batch_size=32",
    "train.drop_last=true",
    "train.optimizer=sgd",
    "train.lr=0.2",
    "train.epochs=9",
    "data.fractions={train: 0.9, val: 0.1}",
)


@pytest.fixture(scope="module")
def after_three_steps(tmp_path_factory):
    """Weights after three batches of 32 images that went through the network in so many parts."""
    folder = tmp_path_factory.mktemp("accumulation")
    data = write_class_folders(folder / "data", count=110)
    for k, path in enumerate(sorted((data / "well").iterdir())[:42]):  # classes of 55, 42 and 13 images
        (data / "odd").mkdir(exist_ok=True)
        path.rename(data / "odd" / f"{k}.png")
    (folder / "tiny.yaml").write_text(TINY_RECIPE.replace("labels: {positive: sick}\n", ""))
    manifest, labels = prepare(check_recipe(str(folder / "tiny.yaml"), COMMON), data)
    runtime = start_runtime(device="cpu", threads=1)

    @functools.cache
    def call(*changes: str, parts: int) -> dict[str, torch.Tensor]:
        recipe = check_recipe(str(folder / "tiny.yaml"), (*COMMON, *changes))
        setup = set_up(recipe, manifest, labels, runtime, mode=ComputeMode())
        setup.begin_epoch()
        setup.state.progress.micro_batches = parts
        for pixels, index in runtime.loader(setup.images, batches=setup.batches):
            assert len(index) == 32
            loop.take_step(setup, pixels, index)
            setup.state.progress.step_in_epoch += 1
        assert setup.state.progress.step_in_epoch == 3
        return setup.state.model.state_dict()

    return call


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


WEIGHTED = "train.class_weights=balanced"


@pytest.mark.parametrize(
    "changes",
    [
        (WEIGHTED, "train.label_smoothing=0.1", "train.mixup_alpha=1.0"),
        (WEIGHTED, "train.label_smoothing=0.1", "train.label_smoothing_over=others", "train.cutmix_alpha=1.0"),
        (WEIGHTED, "train.loss=focal", "train.mixup_alpha=0.4", "train.clip_grad=null"),
    ],
)
def test_four_parts_of_8_equal_32(after_three_steps, changes):
    changes = ("train.clip_grad=0.5", *changes)
    whole = after_three_steps(*changes, parts=1)
    assert distance(after_three_steps(*changes, parts=4), whole) < 1e-6
    without = after_three_steps("train.clip_grad=null", WEIGHTED, parts=1)
    assert distance(without, whole) > 1e-4  # what was to be kept equal did act


def test_parts_of_unequal_size_equal_the_whole(after_three_steps):
    whole, parts = (after_three_steps(WEIGHTED, "train.mixup_alpha=0.4", parts=parts) for parts in (1, 3))
    assert distance(parts, whole) < 1e-6  # of 10, 12 and 10 images


def test_the_recipes_parts_are_the_loops(tmp_path, class_folders, tiny_recipe, monkeypatch):
    from chiron.engine.checkpoint import list_checkpoints

    changes, asked, plain = ("train.grad_accum_steps=3", "train.epochs=1"), [], one_step.cut_in_pairs

    def cut(count, parts):
        asked.append(parts)
        return plain(count, parts)

    monkeypatch.setattr(one_step, "cut_in_pairs", cut)
    recipe = check_recipe(str(tiny_recipe), changes)
    manifest, labels = prepare(recipe, class_folders)
    runtime = start_runtime(device="cpu", threads=1)
    fitted = loop.fit(
        recipe, manifest, labels, checkpoints=tmp_path / "kept", runtime=runtime, on_epoch=lambda history: None
    )
    assert set(asked) == {3}
    assert fitted.progress.micro_batches == 3
    assert list_checkpoints(tmp_path / "kept")
