"""The lines that tell of a training, on a clock that stands where the test puts it."""

import pytest

from chiron.engine import history
from chiron.engine.checkpoint import Progress
from chiron.engine.history import Pace, epoch_line, epoch_row, step_line
from chiron.spec.train_recipe import TrainRecipe


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(history.time, "monotonic", lambda: Clock.now)
    return Clock


def work(progress: Progress, clock, steps: int, seconds: float, images: int = 8) -> None:
    for _ in range(steps):
        clock.now += seconds
        progress.step_in_epoch += 1
        progress.images_in_epoch += images
        progress.loss_sum += 0.5 * images


def test_a_step_line_tells_place_pace_time_left_and_the_best(clock):
    """40 steps of 2 s, half of them done; validation took 10 s; 2 epochs follow this one."""
    progress = Progress(epoch=1, best_epoch=1, best_value=0.75, history=[{"validation_seconds": 10.0}])
    pace = Pace(progress, num_batches=40)
    assert not pace.time_to_tell()
    work(progress, clock, 20, 2.0)
    assert pace.time_to_tell()
    assert not pace.time_to_tell()  # just told
    line = step_line(TrainRecipe(epochs=4, lr=1.0), progress, pace, num_batches=40)
    # 40 s of this epoch, 10 s of its validation, two times 80 s and 10 s
    assert line == (
        "  epoch 2/4, step 20/40, train loss 0.5000, best val auroc 0.7500 (epoch 1), 4 images/s, "
        "40 s left of the epoch, 4 min left"
    )


def test_time_left_is_right_after_resuming_inside_of_an_epoch(clock):
    """Another process did 30 of 40 steps in 300 s; this one does 5 in 5 s, and tells of its own pace."""
    progress = Progress(epoch=0, step_in_epoch=30, images_in_epoch=240, seconds_in_epoch=300.0)
    pace = Pace(progress, num_batches=40)
    work(progress, clock, 5, 1.0)
    pace.measure()
    line = step_line(TrainRecipe(epochs=2, lr=1.0, patience=3), progress, pace, num_batches=40)
    assert line.endswith("8 images/s, 5 s left of the epoch, at most 45 s left")
    work(progress, clock, 5, 1.0)
    pace.measure()
    clock.now += 4.0  # of validation
    values = {"loss": 0.4, "auroc": 0.9}
    row = epoch_row(progress, values, pace, lr=0.1)
    assert (row["seconds"], row["validation_seconds"], row["images_per_second"]) == (310.0, 4.0, round(320 / 310, 2))


def test_an_epoch_line_counts_validation_and_nothing_is_left_at_the_end(clock):
    progress = Progress(epoch=0)
    pace = Pace(progress, num_batches=10)
    work(progress, clock, 10, 30.0)
    pace.measure()
    clock.now += 60
    progress.history.append(epoch_row(progress, {"loss": 0.4, "auroc": None}, pace, lr=0.1))
    progress.best_epoch, progress.best_value = 1, None
    progress.begin_next_epoch()
    assert progress.seconds_in_epoch == 0
    train = TrainRecipe(epochs=21, lr=1.0)
    assert epoch_line(train, progress) == (
        "epoch 1/21  train loss 0.5000  val loss 0.4000  val auroc not defined (best not defined, epoch 1)  "
        "0 images/s  2 h 0 min left"
    )
    progress.finished = True
    assert epoch_line(train.model_copy(update={"patience": 2}), progress).endswith("images/s  0 s left")
