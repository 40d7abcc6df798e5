"""Loggers: what they are told, that it changes no weight, and that a resumed run tells nothing twice."""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chiron.core.errors import EngineError, SpecError
from chiron.engine.checkpoint import list_checkpoints
from chiron.engine.epoch_log import open_log, require_loggers, scalars_of
from chiron.engine.log_details import _grid, feature_maps, input_image
from chiron.workflows.check import check_recipe, recipe_warnings

DETAILS = ("train.loggers=[tensorboard]", "train.log_details=true")


@pytest.fixture
def prepared(class_folders, tiny_recipe):
    from chiron.workflows.data import prepare

    return prepare(check_recipe(str(tiny_recipe)), class_folders)


@pytest.fixture
def quick_fit(tmp_path, prepared, tiny_recipe):
    """The loop alone: no bundle, no report."""
    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime

    manifest, labels = prepared

    def call(*changes: str, name: str = "run"):
        recipe, place = check_recipe(str(tiny_recipe), changes), tmp_path / name
        return fit(recipe, manifest, labels, checkpoints=place / "checkpoints", logs=place / "logs",
                   runtime=start_runtime(device="cpu", threads=1), on_epoch=lambda history: None)  # fmt: skip

    return call


@pytest.fixture
def setup_of(prepared, tiny_recipe):
    from chiron.engine.runtime import start_runtime
    from chiron.engine.setup import set_up

    def call(*changes: str):
        recipe = check_recipe(str(tiny_recipe), changes)
        return set_up(recipe, *prepared, start_runtime(device="cpu", threads=1))

    return call


def events(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0}).Reload()


def test_tensorboard_holds_the_history_and_what_the_network_does(quick_fit, tmp_path):
    history = quick_fit(*DETAILS, "train.epochs=3").progress.history
    told = events(tmp_path / "run" / "logs" / "tensorboard")
    tags = told.Tags()
    assert {"Train/Loss", "Val/Loss", "Val/Accuracy", "Val/Auroc", "lr", "images_per_second"} <= set(tags["scalars"])
    for tag, key in {"Train/Loss": "train_loss", "Val/Auroc": "val_auroc", "lr": "lr"}.items():
        points = told.Scalars(tag)
        assert [point.step for point in points] == [1, 2, 3]
        assert [point.value for point in points] == pytest.approx([row[key] for row in history], rel=1e-6)
    assert [event.step for event in told.Histograms("Gradients/head.weight")] == [1, 2, 3]  # each at its own step
    assert [event.step for event in told.Images("FeatureMaps/stage1/Sample_0")] == [1, 2, 3]
    assert [event.step for event in told.Images("InputImage/Sample_0")] == [1]


def test_logging_changes_no_weight(quick_fit, tmp_path):
    quick_fit(*DETAILS, "train.ema_decay=0.9", "model.args.drop_rate=0.2", name="logged")
    quick_fit("train.ema_decay=0.9", "model.args.drop_rate=0.2", name="plain")
    logged, plain = (
        (list_checkpoints(tmp_path / name / "checkpoints")[-1] / "state.safetensors").read_bytes()
        for name in ("logged", "plain")
    )
    assert logged == plain


@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_run_goes_on_where_the_log_ends(quick_fit, tmp_path, monkeypatch, lost):
    """Stopped in the third epoch, or killed when the second was told and its checkpoint not yet written."""
    from chiron.engine import fit as loop

    plain_step, plain_save, steps = loop.take_step, loop.Checkpoints.save, []

    def stop(*args):
        steps.append(1)
        if len(steps) == 9:
            raise KeyboardInterrupt
        return plain_step(*args)

    def save(self, state):
        if lost and state.progress.epoch == 2:
            raise KeyboardInterrupt
        plain_save(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", stop)
        patch.setattr(loop.Checkpoints, "save", save)
        with pytest.raises(KeyboardInterrupt):
            quick_fit(DETAILS[0], "train.epochs=4")
    quick_fit(DETAILS[0], "train.epochs=4")
    told = events(tmp_path / "run" / "logs" / "tensorboard")
    assert [point.step for point in told.Scalars("Val/Loss")] == [1, 2, 3, 4]


def test_scalars_have_tensorboards_names_and_undefined_ones_are_left_out():
    row = {"epoch": 3, "train_loss": 0.5, "val_macro_f1": 0.25, "val_auroc": None, "lr": 1e-3, "seconds": 4.0,
           "validation_seconds": 1.0, "images_per_second": 7}  # fmt: skip
    assert scalars_of(row) == {"Train/Loss": 0.5, "Val/Macro_f1": 0.25, "lr": 1e-3, "images_per_second": 7.0}


@pytest.mark.parametrize(
    "name", ["chiron_fair_cnn_nano", "chiron_vit_scratch_nano", "chiron_gft_nano", "test_vit", "test_resnet"]
)
def test_every_stage_but_the_head_has_maps(setup_of, name):
    from chiron.models.stages import named_stages

    setup = setup_of(f"model.name={name}", "input.img_size=64", "model.args={}")
    network = setup.state.model.eval()
    maps = feature_maps(setup, network)
    assert set(maps) <= {f"FeatureMaps/{stage}/Sample_0" for stage in named_stages(network)}
    assert len(maps) >= 2
    for picture in maps.values():
        assert picture.std() > 0
    assert not any(layer._forward_hooks for layer in network.modules())


def test_the_maps_are_the_first_sixteen_channels_each_in_full_range():
    from matplotlib import colormaps

    maps = torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(0))
    picture = _grid(maps)
    assert picture.shape == (12, 20, 3)
    for place in range(16):
        row, column = divmod(place, 4)
        own = maps[place].numpy()
        expected = colormaps["viridis"]((own - own.min()) / (own.max() - own.min()))[..., :3]
        part = picture[3 * row : 3 * row + 3, 5 * column : 5 * column + 5]
        np.testing.assert_allclose(part, 255 * expected, atol=0.51)
    assert (_grid(maps[:5])[6:] == np.rint(255 * np.array(colormaps["viridis"](0.0)[:3]))).all()  # places left over


def test_the_input_image_is_what_was_stored(setup_of):
    setup = setup_of()
    stored, _ = setup.val_images[0]
    shown = input_image(setup)["InputImage/Sample_0"]
    assert shown.shape == (32, 32, 3)
    assert (shown == shown[..., :1]).all()
    np.testing.assert_allclose(shown[..., 0], stored[0].numpy(), atol=1)


def test_a_logger_that_is_not_installed_is_told_before_data_is_read(tmp_path, tiny_recipe, monkeypatch):
    from chiron.workflows.train import train

    monkeypatch.setitem(sys.modules, "wandb", None)
    from chiron.engine import epoch_log

    found = epoch_log.find_spec
    monkeypatch.setattr(epoch_log, "find_spec", lambda name: None if name in ("wandb", "mlflow") else found(name))
    with pytest.raises(SpecError, match=r"wandb needs the package wandb\. Got none here\. Run `pip install wandb`\."):
        train(str(tiny_recipe), tmp_path / "nowhere", tmp_path / "run", overrides=("train.loggers=[wandb]",))
    with pytest.raises(SpecError, match="pip install mlflow-skinny sqlalchemy alembic"):
        require_loggers(("mlflow",))
    require_loggers(("tensorboard",))


def test_names_of_loggers_are_checked_with_the_recipe(tiny_recipe):
    with pytest.raises(SpecError, match=r"train\.loggers must be a known name \(mlflow, tensorboard, wandb\)\. Got "
                                        r"'tensorbord'\. Did you mean 'tensorboard'\?"):  # fmt: skip
        check_recipe(str(tiny_recipe), ("train.loggers=[wandb, tensorbord]",))
    sends = check_recipe(str(tiny_recipe), ("train.loggers=[wandb]", "train.log_details=true"))
    assert any("may send it to a server" in told for told in recipe_warnings(sends))


def test_a_logger_that_cannot_end_hides_nothing(quick_fit, monkeypatch, caplog):
    """Neither a finished training nor the reason why one ends, and the loggers after it are closed."""

    class Silent:
        def __init__(self) -> None:
            self.is_closed = False

        def scalars(self, epoch, values):
            raise ConnectionError("no server")

        def histograms(self, epoch, values): ...

        def images(self, epoch, values): ...

        def close(self):
            self.is_closed = True
            raise ConnectionError("still no server")

    opened = []

    def open_logger(*args, **kwargs):
        opened.append(Silent())
        return opened[-1]

    monkeypatch.setattr("chiron.engine.epoch_log.load_leaf", lambda *a, **k: SimpleNamespace(open_logger=open_logger))
    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    with pytest.raises(EngineError, match=r"The logger tensorboard must be able to write\. Got no server\."):
        quick_fit("train.loggers=[tensorboard,mlflow]")
    assert [logger.is_closed for logger in opened] == [True, True]
    told = [record.getMessage() for record in caplog.records if "still no server" in record.getMessage()]
    assert len(told) == 2
    monkeypatch.setattr(Silent, "scalars", lambda self, epoch, values: None)
    assert quick_fit("train.loggers=[tensorboard]", name="done").progress.finished


def test_a_logger_that_fails_is_one_sentence(quick_fit, tmp_path, monkeypatch):
    from chiron.engine import epoch_log

    def fail(*args):
        raise ConnectionRefusedError("no server at port 5000.\nmore")

    broken = SimpleNamespace(scalars=fail, histograms=fail, images=fail, close=lambda: None)
    monkeypatch.setattr(epoch_log, "load_leaf", lambda *a, **k: SimpleNamespace(open_logger=lambda *a, **k: broken))
    with pytest.raises(EngineError, match=r"tensorboard must be able to write\. Got no server at port 5000\. Mend it"):
        quick_fit("train.loggers=[tensorboard]")


def test_processes_that_only_help_log_nothing(tiny_recipe):
    with open_log(check_recipe(str(tiny_recipe), DETAILS), None, first_epoch=1) as log:
        assert log.loggers == {}
