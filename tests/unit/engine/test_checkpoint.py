"""When checkpoints are written, which are kept, and that a long run costs no memory."""

import gc

import pytest
import torch

from chiron.core.errors import EngineError
from chiron.engine import checkpoint
from chiron.engine.checkpoint import Checkpoints, Progress, TrainingState, list_checkpoints, stored_setting
from chiron.spec.train_recipe import TrainRecipe


def state_of(model: torch.nn.Module, **progress) -> TrainingState:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return TrainingState(model, torch.optim.AdamW(model.parameters()), scaler, progress=Progress(**progress))


def keeper_of(folder, **changes) -> Checkpoints:
    return Checkpoints(folder, TrainRecipe(epochs=9, lr=1.0, **changes))


def test_due_after_so_many_steps_or_minutes(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    by_steps = keeper_of(tmp_path, checkpoint_steps=3)
    assert [step for step in range(1, 10) if by_steps.is_due(Progress(step_in_epoch=step))] == [3, 6, 9]
    by_minutes = keeper_of(tmp_path, checkpoint_minutes=2.0)
    assert not by_minutes.is_due(Progress(step_in_epoch=3))
    now[0] += 121
    assert by_minutes.is_due(Progress(step_in_epoch=4))
    by_minutes.save(state_of(torch.nn.Linear(2, 2)))
    assert not by_minutes.is_due(Progress(step_in_epoch=5))


def test_the_newest_two_and_those_of_every_so_many_epochs_are_kept(tmp_path):
    keeper, model = keeper_of(tmp_path, keep_every_epochs=3), torch.nn.Linear(2, 2)
    for epoch in range(1, 9):
        for step in (2, 0):  # inside of the epoch, and at its end
            place = {"epoch": epoch - 1, "step_in_epoch": step} if step else {"epoch": epoch}
            keeper.save(state_of(model, **place))
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00003-0000000", "step-00006-0000000", "step-00007-0000002", "step-00008-0000000",
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 4


def test_without_a_folder_nothing_is_kept(tmp_path):
    keeper_of(None).save(state_of(torch.nn.Linear(2, 2)))


def test_what_a_kill_left_is_cleared_by_the_next_checkpoint(tmp_path):
    (tmp_path / ".step-00001-0000003.tmp-1").mkdir()
    (tmp_path / ".step-00001-0000000.old-1").mkdir()
    keeper_of(tmp_path).save(state_of(torch.nn.Linear(2, 2), epoch=2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00002-0000000"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"progress": {}}'])
def test_a_damaged_list_of_facts_is_told_before_anything_is_made_of_it(tmp_path, text):
    keeper_of(tmp_path).save(state_of(torch.nn.Linear(2, 2), epoch=2))
    (tmp_path / "step-00002-0000000" / "state.json").write_text(text)
    with pytest.raises(EngineError, match=r"must fit the run's recipe and be whole.* at .*step-00002-0000000"):
        stored_setting(tmp_path)


@pytest.mark.slow
def test_fifty_epochs_take_no_more_memory_than_ten(tmp_path, class_folders, tiny_recipe):
    """With an average of the weights, a logger and its details: as many live tensors, and no growing process."""
    import psutil

    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    changes = ("train.epochs=50", "train.ema_decay=0.9", "train.loggers=[tensorboard]", "train.log_details=true")
    recipe = check_recipe(str(tiny_recipe), changes)
    manifest, labels = prepare(recipe, class_folders)
    tensors, megabytes = [], []

    def look(history) -> None:
        gc.collect()
        tensors.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
        megabytes.append(psutil.Process().memory_info().rss / 2**20)

    fit(recipe, manifest, labels, checkpoints=tmp_path / "checkpoints", logs=tmp_path / "logs",
        runtime=start_runtime(device="cpu", threads=1), on_epoch=look)  # fmt: skip
    assert len(tensors) == 50
    assert set(tensors[10:]) == {tensors[10]}
    assert megabytes[-1] - megabytes[10] < 20
