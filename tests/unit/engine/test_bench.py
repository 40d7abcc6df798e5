"""Each part of a step gets its own time: a delay that is put into one part shows up there and nowhere else."""

import time

import numpy as np
import pytest

from chiron.engine import bench
from chiron.engine.bench import PARTS, Spread, measure_training
from chiron.engine.runtime import start_runtime
from chiron.engine.setup import Setup, set_up
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare

DELAY = 0.1


@pytest.fixture
def setup(class_folders, tiny_recipe) -> Setup:
    recipe = check_recipe(str(tiny_recipe), ("train.ema_decay=0.9",))
    manifest, labels = prepare(recipe, class_folders)
    return set_up(recipe, manifest, labels, start_runtime(device="cpu", threads=1))


def slowed(function, seconds: float):
    def slow(*args, **kwargs):
        time.sleep(seconds)
        return function(*args, **kwargs)

    return slow


def test_a_spread_is_median_and_quartiles():
    assert Spread.of(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == Spread(3.0, 2.0, 4.0)


@pytest.mark.parametrize("slow", ["copy", "forward", "backward", "optimizer"])
def test_a_slow_part_of_the_step_is_found(setup, monkeypatch, slow):
    owner, name = {
        "copy": (setup.finish, "forward"),
        "forward": (setup.stepped, "forward"),
        "backward": (setup.state.scaler, "scale"),
        "optimizer": (setup.state.optimizer, "step"),
    }[slow]
    monkeypatch.setattr(owner, name, slowed(getattr(owner, name), DELAY))
    monkeypatch.setattr(bench, "_time_scoring", lambda setup, num_steps: Spread(0.0, 0.0, 0.0))
    measured = measure_training(setup, num_steps=3)
    assert {part for part in PARTS if measured.parts[part].low_quartile >= DELAY} == {slow}
    assert measured.step.median >= DELAY


@pytest.mark.slow
def test_the_time_to_fetch_a_batch_is_waiting(setup, monkeypatch):
    monkeypatch.setattr(setup.images.source, "stored", slowed(setup.images.source.stored, DELAY / 2))
    monkeypatch.setattr(type(setup.images), "augmented", slowed(type(setup.images).augmented, DELAY))
    measured = measure_training(setup, num_steps=2)
    assert measured.decode.median >= DELAY / 2
    assert measured.read.median >= DELAY / 2  # there is no cache
    assert measured.warp.median >= DELAY
    assert measured.waiting.median >= 1.5 * DELAY * 7  # 28 images in four batches
    assert measured.waiting_share > 0.5
    assert measured.images_per_second < measured.compute_images_per_second
    assert measured.memory_peak_bytes > 2**20


def test_all_is_as_in_the_last_epoch(setup, monkeypatch):
    epochs, updates = set(), []
    real = bench.take_step
    monkeypatch.setattr(bench, "take_step", lambda *args: (epochs.add(setup.state.progress.epoch), real(*args))[1])
    monkeypatch.setattr(setup.state.average, "update", lambda *args: updates.append(args))
    measure_training(setup, num_steps=1)
    assert epochs == {1}
    assert len(updates) == 2 * (1 + 3)  # each step with the loader and in memory, with warm-up
    setup.lap("anything")  # nobody listens any more
