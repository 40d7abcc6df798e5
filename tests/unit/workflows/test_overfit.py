"""The check that a network can learn a few images by heart."""

import polars as pl
import pytest

from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.spec.reading import read_recipe
from chiron.spec.train_recipe import FreezeRecipe, TrainRecipe
from chiron.workflows.evaluate import evaluate
from chiron.workflows.overfit import KEPT, overfit_settings, pick_images, read_overfit
from chiron.workflows.train import train


def manifest(counts: dict[str, int], tmp_path, split: str = "train") -> Manifest:
    rows = [{"sample_id": f"{name}{k}", "path": f"{name}{k}.png", "label": name, "split": split}
            for name, count in counts.items() for k in range(count)]  # fmt: skip
    return Manifest(pl.DataFrame(rows), tuple(counts), tmp_path, "test")


def test_images_are_spread_over_the_classes(tmp_path):
    picked = pick_images(manifest({"a": 50, "b": 30, "c": 2}, tmp_path), 11, seed=0)
    counts = dict(picked.frame.group_by("label").len().iter_rows())
    assert counts == {"a": 5, "b": 4, "c": 2}  # as even as the classes allow
    assert set(picked.frame["split"]) == {"train"}


def test_the_choice_is_a_function_of_names_and_seed(tmp_path):
    whole = manifest({"a": 50, "b": 30}, tmp_path)
    reversed_rows = Manifest(whole.frame.reverse(), whole.classes, tmp_path, "test")

    def names(data, seed=0):
        return set(pick_images(data, 8, seed=seed).frame["sample_id"])

    assert names(whole) == names(reversed_rows)
    assert names(whole) != names(whole, seed=1)


def test_only_training_images_are_picked_and_there_must_be_enough(tmp_path):
    both = manifest({"a": 5, "b": 5}, tmp_path)
    test = manifest({"c": 9, "d": 9}, tmp_path, split="test")
    data = Manifest(pl.concat([both.frame, test.frame]), ("a", "b", "c", "d"), tmp_path, "test")
    assert set(pick_images(data, 10, seed=0).frame["label"]) == {"a", "b"}
    with pytest.raises(DataError, match=r"at most the number of training images \(10\)\. Got 11\."):
        pick_images(data, 11, seed=0)


def test_what_hinders_learning_by_heart_is_off(tiny_recipe):
    changes = ("label_smoothing=0.1", "sampler=balanced", "class_weights=balanced", "class_weight_cap=3", "patience=2",
               "ema_decay=0.9", "warmup_epochs=1", "clip_grad=0.5", "optimizer=sgd", "overfit_images=4")  # fmt: skip
    recipe = read_recipe(str(tiny_recipe), [f"train.{change}" for change in changes])
    settings = overfit_settings(recipe)
    plain = read_recipe(str(tiny_recipe), ["train.optimizer=sgd", "train.clip_grad=0.5", "train.overfit_images=4"])
    train_part = plain.train.model_copy(update={"epochs": 200, "schedule": "constant", "select_by": "accuracy"})
    assert settings.train == train_part
    assert settings.augment == type(settings.augment)()
    assert settings.model == recipe.model
    assert settings.input == recipe.input


def test_every_key_is_kept_on_purpose_or_reset(tiny_recipe):
    """A key that is new in TrainRecipe must be thought of here: does it keep a network from learning by heart?"""
    reset = {
        "schedule_per", "warmup_epochs", "warmup_lr", "min_lr", "restart_epochs", "restart_mult", "plateau_factor",
        "plateau_patience", "freeze", "label_smoothing", "label_smoothing_over", "class_weights", "class_weight_cap",
        "sampler", "mixup_alpha", "cutmix_alpha", "mix_from_epoch", "segmentation_weight", "attention_weight",
        "ema_decay", "ema_from_epoch", "ema_bias_correction", "patience", "min_delta", "drop_last", "sanity_steps",
        "checkpoint_minutes", "checkpoint_steps", "keep_every_epochs",
    }  # fmt: skip
    chosen = {"epochs", "schedule", "select_by"}
    fields = TrainRecipe.model_fields
    assert set(fields) == reset | chosen | set(KEPT)
    assert not reset & set(KEPT)
    assert not chosen & (reset | set(KEPT))
    other = {
        "schedule_per": "epoch", "warmup_epochs": 1.0, "warmup_lr": 1e-4, "min_lr": 1e-5, "restart_epochs": 3,
        "restart_mult": 2, "plateau_factor": 0.5, "plateau_patience": 2, "label_smoothing": 0.1,
        "freeze": (FreezeRecipe(stages=("stage1",)),), "label_smoothing_over": "others", "class_weights": "balanced",
        "class_weight_cap": 2.0, "sampler": "balanced", "mixup_alpha": 0.4, "cutmix_alpha": 1.0, "mix_from_epoch": 1,
        "segmentation_weight": 0.5, "attention_weight": 0.5, "ema_decay": 0.9, "ema_from_epoch": 1,
        "ema_bias_correction": False, "patience": 2, "min_delta": 0.1, "drop_last": True, "checkpoint_minutes": 1.0,
        "checkpoint_steps": 3, "keep_every_epochs": 2, "sanity_steps": 5, "schedule": "cosine", "select_by": "loss",
    }  # fmt: skip
    assert set(other) == reset | chosen - {"epochs"}
    recipe = read_recipe(str(tiny_recipe), ["train.overfit_images=4", "train.weight_decay=0.3", "train.optimizer=sgd"])
    settings = overfit_settings(recipe.model_copy(update={"train": recipe.train.model_copy(update=other)}))
    for key in reset:
        assert getattr(settings.train, key) == fields[key].default, key
    for key in KEPT:
        assert getattr(settings.train, key) == getattr(recipe.train, key), key
    assert (settings.train.schedule, settings.train.select_by, settings.train.epochs) == ("constant", "accuracy", 200)


def test_thirty_two_images_are_learned_and_nothing_else_is_left(tmp_path, tiny_recipe):
    from conftest import write_class_folders

    data = write_class_folders(tmp_path / "data", count=60)
    changes = ("train.overfit_images=32", "train.patience=1", "train.batch_size=16")
    run = train(str(tiny_recipe), data, tmp_path / "run", overrides=changes, device="cpu", threads=1)
    result = read_overfit(run)
    assert result.reached
    assert result.num_images == 32
    history = run.read_history()
    assert len(history) < 200
    assert history[-1]["val_accuracy"] == 1.0  # it stops there
    assert all(row["val_accuracy"] < 1.0 for row in history[:-1])
    assert {row["lr"] for row in history} == {1e-3}
    assert Manifest.load(run.path).frame["split"].to_list() == ["train"] * 32
    assert sorted(path.name for path in run.path.iterdir()) == [
        "duplicates.csv", "environment.json", "manifest.csv", "manifest.json", "recipe.yaml", "run.json",
        "train_split.csv", "training_history.json",
    ]  # fmt: skip
    with pytest.raises(SpecError, match="an overfit check has no bundle"):
        evaluate(run.path)
    with pytest.raises(SpecError, match="an overfit check has no bundle"):
        evaluate(run.path, data=data, out=tmp_path / "elsewhere")
    with pytest.raises(SpecError, match="A run to resume must be a training"):
        train("", None, run.path, resume=True, device="cpu")
