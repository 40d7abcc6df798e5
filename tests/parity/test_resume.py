"""A run that is killed and resumed ends with the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from chiron.core.hashing import sha256_bytes
from chiron.engine.checkpoint import list_checkpoints

RECIPE = """\
model: {name: chiron_h_coatnet_nano, init: scratch, args: {drop_rate: 0.2, drop_path_rate: 0.1}}
input: {img_size: 32, in_chans: 1}
labels: {positive: sick}
augment: {degrees: 10, translate: 0.05, brightness: 0.1}
train:
  {epochs: 6, batch_size: 8, lr: 1e-3, warmup_epochs: 1, clip_grad: 1.0, class_weights: balanced,
   checkpoint_minutes: 0.00001, num_workers: 0}
evaluate: {num_resamples: 200}
"""


# Whatever else the state of a run holds: averaged weights, repeats of rare images, momentum.
AVERAGED = RECIPE.replace(
    "class_weights: balanced",
    "optimizer: sgd, sampler: balanced, ema_decay: 0.9, ema_from_epoch: 1, label_smoothing: 0.1",
)
RECIPES = {"plain": RECIPE, "averaged": AVERAGED}


def start(folder: Path, out: str, *extra: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "chiron.cli.main", "train"]
    command += ["--resume"] if "--resume" in extra else [str(folder / "recipe.yaml"), "--data", str(folder / "data")]
    command += ["--out", str(folder / out), "--device", "cpu", "--threads", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=dict(os.environ))


def weights(run: Path) -> str:
    return sha256_bytes((run / "bundle" / "weights.safetensors").read_bytes())


def wait_for_start(run: Path, process: subprocess.Popen) -> None:
    while process.poll() is None and not (run / "recipe.yaml").is_file():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path, class_folders, name):
    (tmp_path / "recipe.yaml").write_text(RECIPES[name])
    whole = start(tmp_path, "whole")
    begun = time.monotonic()
    wait_for_start(tmp_path / "whole", whole)
    setup_seconds = time.monotonic() - begun
    assert whole.wait() == 0, whole.stderr.read()
    seconds = time.monotonic() - begun - setup_seconds

    random, kills, middle = np.random.default_rng(int(time.time())), 0, 0
    process = start(tmp_path, "killed")
    while kills < 5:
        wait_for_start(tmp_path / "killed", process)
        time.sleep(float(random.uniform(0, seconds * 0.8)) + (2.0 if kills else 0.0))
        if process.poll() is not None:
            break  # it finished before the kill
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        checkpoints = list_checkpoints(tmp_path / "killed" / "checkpoints")
        middle += any(not path.name.endswith("-0000000") for path in checkpoints)
        for path in checkpoints:  # whatever the moment, what is there is whole
            with safe_open(path / "state.safetensors", "pt") as tensors:
                assert list(tensors.keys())
        process = start(tmp_path, "killed", "--resume")
    assert process.wait() == 0, process.stderr.read()
    assert kills >= 1
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    print(f"{kills} kills, {middle} of them with a checkpoint inside an epoch")


@pytest.mark.parametrize("name", RECIPES)
def test_ctrl_c_inside_an_epoch_changes_nothing(tmp_path, class_folders, name):
    """Interrupted exactly after the third step of the second epoch, in one process."""
    from chiron.engine import fit as loop
    from chiron.workflows.train import train

    text = RECIPES[name].replace("epochs: 6", "epochs: 3").replace("0.00001", "5.0")
    (tmp_path / "recipe.yaml").write_text(text)
    arguments = {"device": "cpu", "threads": 1}
    whole = train(str(tmp_path / "recipe.yaml"), class_folders, tmp_path / "whole", **arguments)

    steps, plain = [], loop._step

    def counted(*args, **kwargs):
        value = plain(*args, **kwargs)
        steps.append(value)
        if len(steps) == 7:
            signal.raise_signal(signal.SIGINT)
        return value

    loop._step = counted
    try:
        with pytest.raises(KeyboardInterrupt):
            train(str(tmp_path / "recipe.yaml"), class_folders, tmp_path / "stopped", **arguments)
    finally:
        loop._step = plain
    assert not list_checkpoints(tmp_path / "stopped" / "checkpoints")[-1].name.endswith("-0000000")
    resumed = train("", None, tmp_path / "stopped", resume=True, **arguments)
    assert weights(resumed.path) == weights(whole.path)
    kept = [
        {k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in resumed.read_history()
    ]
    reference = [
        {k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in whole.read_history()
    ]
    assert kept == reference
