"""Several processes do what one does: the same steps, every image scored once, one decision for all."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import polars as pl
import psutil
import pytest
from conftest import TINY_RECIPE, write_class_folders
from killed_runs import ranks, start_command
from process_jobs import TORCHRUN, run_job

from chiron.engine.checkpoint import list_checkpoints

# LayerNorm alone, no dropout and no drop path: nothing in it knows how many processes there are.
RECIPE = """\
model: {name: chiron_vit_scratch_nano, init: scratch, args: {token_drop_rate: 0.0}}
input: {img_size: 32, in_chans: 1}
labels: {positive: sick}
augment: {degrees: 5, brightness: 0.1}
train: {epochs: 2, batch_size: 8, lr: 1e-3, clip_grad: 1.0, num_workers: 0, select_by: loss}
"""


def folder_of(place, recipe=RECIPE, *, count=41):
    write_class_folders(place / "data", count=count)
    (place / "recipe.yaml").write_text(recipe)
    return place


def assert_equal_steps(one, several, *, atol):
    """Losses of the first 50 steps; all processes end with the same weights and the same decision."""
    for alone, *together in zip(one[0], *several, strict=True):
        assert len({result["weights"] for result in together}) == 1
        assert len({result["best_epoch"] for result in together}) == 1
        for result in together:
            assert len(result["losses"]) == len(alone["losses"])
            np.testing.assert_allclose(result["losses"][:50], alone["losses"][:50], atol=atol, rtol=0)
            assert result["losses"] == together[0]["losses"]
            assert result["values"] == together[0]["values"]
            assert result["finite"]


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    """In parts and mixed; with a batch for which there are too few images; sharded, where an average is kept."""
    folder = folder_of(tmp_path, RECIPE.replace("epochs: 2", "epochs: 1"))
    changes = [
        {"set": ["train.mixup_alpha=0.4", "train.class_weights=balanced", "train.grad_accum_steps=2"]},
        {"set": ["train.batch_size=3"]},
        {"set": ["train.shard=true", "train.ema_decay=0.9", "train.grad_accum_steps=2"]},
    ]
    one = run_job("fit_steps", folder, size=1, changes=changes)
    several = run_job("fit_steps", folder, size=2, changes=changes)
    assert_equal_steps(one, several, atol=1e-4)
    for alone, result in zip(one[0], several[0], strict=True):
        assert result["values"]["val_loss"] == pytest.approx(alone["values"]["val_loss"], abs=1e-3)


@pytest.mark.slow
def test_a_sharded_network_is_shown_to_loggers_as_a_whole(tmp_path):
    """Gradients and maps need the parts of all processes, of which one alone writes."""
    logged = ["train.shard=true", "train.epochs=1", "train.loggers=[tensorboard]", "train.log_details=true"]
    change = {"set": logged, "logs": str(tmp_path / "logs"), "checkpoints": str(tmp_path / "checkpoints")}
    run_job("fit_steps", folder_of(tmp_path, count=24), size=2, changes=[change])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = EventAccumulator(str(tmp_path / "logs" / "tensorboard")).Reload().Tags()
    assert any(name.startswith("Gradients/") for name in told["histograms"])
    assert any(name.startswith("FeatureMaps/") for name in told["images"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["train.mixup_alpha=0.4", "train.cutmix_alpha=1.0"],
        # At 1e-3 Adam makes whole steps of gradients that are rounding alone, and the two drift apart by 1e-3.
        ["model.name=chiron_gft_nano", "model.args={}", "train.lr=1e-4"],
    ],
    ids=["plain", "mixed", "parameters that no gradient reaches"],
)
def test_fifty_steps_are_those_of_one_process(tmp_path, changes):
    folder = folder_of(tmp_path, count=60)
    change = [{"set": ["train.epochs=9", *changes]}]
    one = run_job("fit_steps", folder, size=1, changes=change)
    several = run_job("fit_steps", folder, size=2, changes=change)
    assert len(one[0][0]["losses"]) >= 50
    assert_equal_steps(one, several, atol=1e-4)


@pytest.mark.slow
def test_the_final_metric_lies_within_the_spread_of_seeds(tmp_path):
    """With BatchNorm, dropout drawn in each process, and everything else on."""
    folder = folder_of(tmp_path, TINY_RECIPE.replace("epochs: 2", "epochs: 8"), count=80)
    changes = [{"set": ["train.lr=3e-3", f"train.seed={seed}"]} for seed in range(3)]
    one = run_job("fit_steps", folder, size=1, changes=changes)[0]
    several = run_job("fit_steps", folder, size=2, changes=changes)
    assert [r["weights"] for r in several[0]] == [r["weights"] for r in several[1]]
    alone = np.array([result["values"]["val_auroc"] for result in one])
    together = np.array([result["values"]["val_auroc"] for result in several[0]])
    assert abs(alone.mean() - together.mean()) <= max(2 * alone.std(ddof=1), 0.05)


@pytest.mark.slow
def test_frozen_stages_learn_later_in_all_processes(tmp_path):
    folder = folder_of(tmp_path)
    changes = [{"set": ['train.freeze=[{"stages": ["head"], "epochs": 1}]']}, {"set": ["train.patience=1"]}]
    one = run_job("fit_steps", folder, size=1, changes=changes)
    several = run_job("fit_steps", folder, size=2, changes=changes)
    assert_equal_steps(one, several, atol=1e-4)


def test_every_image_is_scored_once(tmp_path, trained_run):
    """Of one image, of a prime number and of all; three processes, so that one has none."""
    write_class_folders(tmp_path / "data", count=41)
    counts = [1, 2, 7, 41]
    (one,) = run_job("score", tmp_path, size=1, bundle=str(trained_run.bundle), counts=counts)
    several = run_job("score", tmp_path, size=3, bundle=str(trained_run.bundle), counts=counts)
    for scored in several:
        for mine, reference in zip(scored, one, strict=True):
            np.testing.assert_allclose(mine, reference, atol=1e-5, rtol=0)
    assert np.shape(one[3]) == (41, 2)


def test_what_processes_tell_each_other(tmp_path):
    first, second = run_job("meet", tmp_path)
    assert [first["rank"], second["rank"]] == [0, 1]
    assert first["sum"] == second["sum"] == [2.0, 1.0]
    assert first["any"] == second["any"] == [True, False]
    assert first["of_main"] == second["of_main"] == {"a": 0.0, "b": None}
    assert first["share"] == second["share"] == "bf16 – compiled"
    assert [first["by_main"], second["by_main"]] == ["made", None]
    assert [first["main_first"], second["main_first"]] == ["found", "found"]
    assert first["failure"] == ["DataError", 2]
    assert second["failure"] == ["FailedElsewhereError", 2]


CHIRON = ["-m", "chiron.cli.main"]
# Everything whose state a checkpoint must hold; BatchNorm, whose statistics differ between processes on the CPU.
KILLED = TINY_RECIPE.replace(
    "epochs: 2",
    "epochs: 12, mixup_alpha: 0.4, ema_decay: 0.9, ema_from_epoch: 1, checkpoint_steps: 1, select_by: loss",
)


HERE = ["--device", "cpu", "--threads", "1"]


def start(folder, *arguments):
    """The command by torchrun in two processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *CHIRON, *arguments, *HERE]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def train(folder, out, *more):
    return start(folder, *training(out), *more)


def training(out):
    return ["train", "recipe.yaml", "--data", "data", "--out", out]


def done(folder, monkeypatch, *arguments, size=1):
    """What the command, in so many processes without torchrun, says on stderr; it must succeed."""
    monkeypatch.chdir(folder)
    errors = folder / "errors.txt"
    errors.write_text("")
    processes = [
        start_command([*arguments, *HERE], errors, environment=environment if size > 1 else None)
        for environment in ranks(size)
    ]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * size, errors.read_text()
    return errors.read_text()


def weights(run):
    return (run / "bundle" / "weights.safetensors").read_bytes()


def workers(job):
    """The processes of a job in the order of their ranks."""
    found = [p for p in psutil.Process(job.pid).children() if "chiron.cli.main" in p.cmdline()]
    return sorted(found, key=lambda process: int(process.environ()["RANK"]))


def begun(job, run):
    """Waits until the job of torchrun trains."""
    while job.poll() is None and not list_checkpoints(run / "checkpoints"):
        time.sleep(0.02)
    assert job.poll() is None, job.stderr.read()


@pytest.mark.slow
def test_a_job_writes_one_run_and_talks_once(tmp_path, monkeypatch):
    """Scored by two processes and by one: the same images, scores within 1e-5, equal counts."""
    folder = folder_of(tmp_path, TINY_RECIPE, count=53)
    job = train(folder, "run", "--score-test")
    out, told = job.communicate()
    assert job.returncode == 0, told
    assert out.count("auroc ") == out.count("report: ") == 1
    assert told.count("epoch 1/2") == told.count("look number 1") == 1
    shutil.copytree(tmp_path / "run", tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone" / "predictions")
    done(folder, monkeypatch, "evaluate", "alone", "--split", "test")
    tables = [pl.read_csv(tmp_path / name / "predictions" / "test.csv").sort("sample_id") for name in ("run", "alone")]
    assert tables[0]["sample_id"].to_list() == tables[1]["sample_id"].to_list()
    assert tables[0]["sample_id"].is_unique().all()
    for column in (name for name in tables[0].columns if name.startswith("logit_")):
        np.testing.assert_allclose(tables[0][column], tables[1][column], atol=1e-5, rtol=0)
    numbers = [json.loads((tmp_path / name / "evaluation_metrics.json").read_text()) for name in ("run", "alone")]
    for count in ("accuracy", "sensitivity", "specificity"):
        assert numbers[0]["overall"][count] == numbers[1]["overall"][count]


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_it_goes_on(tmp_path, monkeypatch):
    """With as many processes to the same bytes, with another number it says that it is not."""
    folder = folder_of(tmp_path, KILLED)
    done(folder, monkeypatch, *training("whole"), size=2)
    job = train(folder, "killed")
    begun(job, tmp_path / "killed")
    first, second = workers(job)
    second.send_signal(signal.SIGKILL)
    _, told = job.communicate(timeout=100)
    assert job.returncode != 0
    assert told.count("chiron: All processes of a job must live until its end.") == 1
    # 3, unless torchrun's own signal meets the other process on its way out; it may also not be told of at all.
    assert re.search(r"exitcode\s*: (3|-15)", told) or "<NO_OTHER_FAILURES>" in told, told
    assert not first.is_running()
    checkpoint = list_checkpoints(tmp_path / "killed" / "checkpoints")[-1]
    assert json.loads((checkpoint / "state.json").read_text())["progress"]["epoch"] < 12
    shutil.copytree(tmp_path / "killed", tmp_path / "fewer")

    done(folder, monkeypatch, "train", "--resume", "--out", "killed", size=2)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")

    told = done(folder, monkeypatch, "train", "--resume", "--out", "fewer")
    assert "resumed, not byte-equal to an uninterrupted run: processes 2 -> 1" in told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_told_to_stop_stops_at_one_step(tmp_path, monkeypatch, number):
    """One process starts alone, is stopped, and two go on; these are told to stop, and end with the same checkpoint."""
    folder = folder_of(tmp_path, KILLED)
    monkeypatch.chdir(folder)
    alone = start_command([*training("run"), *HERE], folder / "errors.txt")
    while alone.is_alive() and not list_checkpoints(tmp_path / "run" / "checkpoints"):
        time.sleep(0.02)
    os.kill(alone.pid, signal.SIGINT)
    alone.join()
    assert alone.exitcode == 130, (folder / "errors.txt").read_text()
    before = list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name
    job = start(folder, "train", "--resume", "--out", "run")
    while job.poll() is None and list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == before:
        time.sleep(0.02)
    job.send_signal(number)  # to torchrun, which sends it on to all
    _, told = job.communicate(timeout=100)
    assert told.count("resumed, not byte-equal to an uninterrupted run: processes 1 -> 2") == 1
    assert told.count("stopped: checkpoint written; continue with --resume") == 1
    assert "All processes of a job" not in told
    checkpoints = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert json.loads((checkpoints[-1] / "state.json").read_text())["progress"]["finished"] is False


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, TINY_RECIPE)
    monkeypatch.chdir(folder)
    command, errors = [*training("run"), "--set", "train.epoch=3", *HERE], folder / "errors.txt"
    (folder / "job").mkdir()  # where torchrun lets the processes of one start find each other's words
    both = [
        start_command(
            command, errors, environment=each | {"TORCHELASTIC_ERROR_FILE": f"{folder}/job/{each['RANK']}/error"}
        )
        for each in ranks(2)
    ]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [2, 2]
    assert errors.read_text().count("chiron: recipe.yaml: unknown key 'train.epoch'") == 1
    job = start(folder, "train", "recipe.yaml", "--data", "nowhere", "--out", "run")
    _, told = job.communicate()  # which only the process that reads the data finds
    assert told.count("chiron: A data source must be a folder") == 1
    assert "All processes of a job" not in told
    assert told.rstrip("=\n ").splitlines()[-1].strip().startswith("traceback : A data source must be a folder")
