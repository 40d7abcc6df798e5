"""Augmentation of whole batches, as on a GPU, forced onto the CPU: the loop must see the same images."""

import json

import pytest
import torch

from chiron.data.dataset import DrawnImages, EpochBatches, TrainingImages
from chiron.data.source import ImageSource
from chiron.engine.checkpoint import list_checkpoints
from chiron.engine.fit import fit
from chiron.engine.loading import TrainingLoader
from chiron.engine.runtime import Runtime, start_runtime
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare

AUGMENT = AugmentRecipe(hflip=0.5, degrees=20, crop_scale=(0.6, 1.0), contrast=0.3, blur=0.5, erase=0.5)
CHANGES = ("augment.hflip=0.5", "augment.crop_scale=[0.6,1]", "augment.erase=0.5", "train.epochs=3")


def in_batches(monkeypatch) -> None:
    monkeypatch.setattr(Runtime, "augments_batches", property(lambda runtime: True))


def training_images(folder, spec: InputSpec) -> TrainingImages:
    source = ImageSource(folder)
    paths = source.names()
    return TrainingImages(source, paths, spec, sample_ids=paths, recipe=AUGMENT, seed=0)


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(img_size=32, canonical_size=40, in_chans=1),
        InputSpec(img_size=32, canonical_size=40, bit_depth=16),
        InputSpec(img_size=32, in_chans=1, mask="lung"),
    ],
    ids=["gray", "16 bits", "mask"],
)
def test_the_loader_gives_the_same_images_either_way(class_folders, spec, monkeypatch):
    images = training_images(class_folders, spec)

    def epoch() -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = EpochBatches(len(images), 8, seed=0)
        batches.begin(2)
        return list(TrainingLoader(images, batches, start_runtime(device="cpu")))

    one_by_one = epoch()
    in_batches(monkeypatch)
    for (pixels, index), (expected, same) in zip(epoch(), one_by_one, strict=True):
        assert torch.equal(index, same)
        assert pixels.shape == (8, spec.stored_chans, 32, 32)
        assert (pixels - expected).abs().mean() * 255 / spec.max_value < 0.1  # gray levels


def test_what_travels_to_a_gpu_is_stored_pixels(class_folders, monkeypatch):
    in_batches(monkeypatch)
    images = training_images(class_folders, InputSpec(img_size=32, canonical_size=40))
    batches = EpochBatches(len(images), 8, seed=0)
    loader = TrainingLoader(images, batches, start_runtime(device="cpu"))
    batches.begin(0)
    assert isinstance(loader._loader.dataset, DrawnImages)
    stored, index, draws = next(iter(loader._loader))
    assert stored.dtype == torch.uint8
    assert stored.shape == (8, 3, 40, 40)
    assert len(index) == len(draws) == 8


def test_training_in_batches_comes_close_and_is_noted(class_folders, tiny_recipe, tmp_path, monkeypatch, caplog):
    """Losses of 3 epochs by either road; a run that goes on by the other one says so."""
    recipe = check_recipe(str(tiny_recipe), CHANGES)
    manifest, labels = prepare(recipe, class_folders)

    def losses(name: str) -> list[float]:
        runtime = start_runtime(device="cpu", threads=1)
        fitted = fit(
            recipe, manifest, labels, checkpoints=tmp_path / name, runtime=runtime, on_epoch=lambda history: None
        )
        return [row["train_loss"] for row in fitted.progress.history]

    one_by_one = losses("one by one")
    in_batches(monkeypatch)
    together = losses("together")
    assert together != one_by_one  # it did go by the other road
    assert together == pytest.approx(one_by_one, abs=2e-3)
    state = json.loads((list_checkpoints(tmp_path / "together")[-1] / "state.json").read_text())
    assert state["progress"]["setting"]["augmented"] == "in batches"
    monkeypatch.undo()
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    losses("together")
    assert "augmented in batches -> one by one" in caplog.text


@pytest.mark.slow
def test_workers_hand_over_stored_images_and_draws(class_folders, monkeypatch):
    in_batches(monkeypatch)
    images = training_images(class_folders, InputSpec(img_size=32, canonical_size=40))

    def epoch(num_workers: int) -> torch.Tensor:
        batches = EpochBatches(len(images), 8, seed=0)
        batches.begin(1)
        loader = TrainingLoader(images, batches, start_runtime(device="cpu", num_workers=num_workers))
        return torch.cat([pixels for pixels, _ in loader])

    assert torch.equal(epoch(1), epoch(0))
