"""A run that is killed and resumed ends with the same bytes as one that was not."""

import json
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from killed_runs import start_command, write_slowly
from safetensors import safe_open

from chiron.core.hashing import sha256_bytes
from chiron.engine.checkpoint import list_checkpoints
from chiron.spec.reading import read_recipe

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

CHECKPOINTS = 30  # of a run: after each of four steps of six epochs, and after each epoch
SCHEDULE = "warm_restarts, restart_epochs: 2"
# Whatever else the state of a run holds: averaged weights, repeats of rare images, momentum.
AVERAGED = RECIPE.replace(
    "class_weights: balanced",
    "optimizer: sgd, sampler: balanced, ema_decay: 0.9, ema_from_epoch: 1, label_smoothing: 0.1",
)
MIXED = RECIPE.replace(
    "class_weights: balanced",
    "mixup_alpha: 0.4, cutmix_alpha: 1.0, mix_from_epoch: 1, ema_decay: 0.9, grad_accum_steps: 2, "
    f"schedule: {SCHEDULE}, freeze: [{{stages: [stem], epochs: 2, lr_scale: 0.5}}], "
    "checkpoint_steps: 1, keep_every_epochs: 2",
)
RECIPES = {"plain": RECIPE, "averaged": AVERAGED, "mixed": MIXED}


def weights(run: Path) -> str:
    return sha256_bytes((run / "bundle" / "weights.safetensors").read_bytes())


def history(run: Path) -> list[dict]:
    """What was learned, without how long it took."""
    clock = {"seconds", "validation_seconds", "images_per_second"}
    rows = json.loads((run / "training_history.json").read_text())
    return [{key: value for key, value in row.items() if key not in clock} for row in rows]


def wait_for_checkpoints(run: Path, process: BaseProcess, count: int) -> None:
    """Until so many more are there than now; how long that takes depends on the machine."""
    seen = {path.name for path in list_checkpoints(run / "checkpoints")}
    until = len(seen) + count
    while process.is_alive() and len(seen) < until:
        seen |= {path.name for path in list_checkpoints(run / "checkpoints")}
        time.sleep(0.005)


def wait_for_half(run: Path, process: BaseProcess) -> None:
    """Until a checkpoint is being written."""
    while process.is_alive() and not list((run / "checkpoints").glob(".*")):
        time.sleep(0.005)


def require_readable(run: Path) -> int:
    """Whatever the moment, what is there is whole; how many checkpoints lie inside an epoch."""
    assert read_recipe(str(run / "recipe.yaml")).train.epochs
    assert json.loads((run / "run.json").read_text())["status"] in ("started", "trained", "finished")
    if (run / "training_history.json").is_file():
        assert isinstance(history(run), list)
    found = list_checkpoints(run / "checkpoints")
    for path in found:
        assert json.loads((path / "state.json").read_text())["progress"]["setting"]
        with safe_open(path / "state.safetensors", "pt") as tensors:
            assert list(tensors.keys())
    return sum(not path.name.endswith("-0000000") for path in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanted_kills", "workers", "slow_writes"),
    [("plain", 4, 0, False), ("averaged", 4, 0, False), ("mixed", 4, 0, False), ("mixed", 7, 0, True),
     ("mixed", 1, 1, False)],
)  # fmt: skip
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path, class_folders, name, wanted_kills, workers, slow_writes):
    """Twenty kills over the cases, each at a random moment after one of the next few checkpoints."""
    (tmp_path / "recipe.yaml").write_text(RECIPES[name])
    last, errors = ["--device", "cpu", "--threads", "1", "--no-cache"], tmp_path / "errors.txt"
    first = ["train", tmp_path / "recipe.yaml", "--data", class_folders, *last]
    whole = start_command([*first, "--out", tmp_path / "whole"], errors)
    whole.join()
    assert whole.exitcode == 0, errors.read_text()

    random, run = np.random.default_rng(int(time.time())), tmp_path / "killed"
    kills = middle = halves = 0
    before = write_slowly if slow_writes else None
    decode = ["--set", f"train.num_workers={workers}"]  # the bytes are those of the run that decodes by itself
    process = start_command([*first, "--out", run, *decode], errors, first=before)
    while kills < wanted_kills:
        wait_for_checkpoints(run, process, int(random.integers(1, CHECKPOINTS // (2 * wanted_kills) + 1)))
        time.sleep(float(random.uniform(0, 0.6 if slow_writes else 0.1)))
        if slow_writes and not halves:
            wait_for_half(run, process)
        if not process.is_alive():
            break  # it finished before the kill
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        middle += require_readable(run) > 0
        halves += bool(list((run / "checkpoints").glob(".*")))
        process = start_command(["train", "--resume", "--out", run, *last], errors, first=before)
    process.join()
    assert process.exitcode == 0, errors.read_text()
    assert kills == wanted_kills
    assert halves or not slow_writes  # at least one kill came in the middle of a write
    assert weights(run) == weights(tmp_path / "whole")
    assert history(run) == history(tmp_path / "whole")
    assert not list((run / "checkpoints").glob(".*")) or not middle
    print(f"{name}: {kills} kills, {middle} with a checkpoint inside an epoch, {halves} in the middle of a write")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", [pytest.param("plain", marks=pytest.mark.slow), "averaged", "mixed"])
def test_ctrl_c_inside_an_epoch_changes_nothing(tmp_path, class_folders, name):
    """Interrupted exactly after the third step of the second epoch, in one process."""
    from chiron.workflows.train import train

    text = RECIPES[name].replace("epochs: 6", "epochs: 3").replace("0.00001", "5.0")
    (tmp_path / "recipe.yaml").write_text(text.replace("checkpoint_steps: 1, ", ""))
    arguments = {"device": "cpu", "threads": 1}
    whole = train(str(tmp_path / "recipe.yaml"), class_folders, tmp_path / "whole", **arguments)
    with interrupted_after(7), pytest.raises(KeyboardInterrupt):
        train(str(tmp_path / "recipe.yaml"), class_folders, tmp_path / "stopped", **arguments)
    assert not list_checkpoints(tmp_path / "stopped" / "checkpoints")[-1].name.endswith("-0000000")
    resumed = train("", None, tmp_path / "stopped", resume=True, **arguments)
    assert weights(resumed.path) == weights(whole.path)
    assert history(resumed.path) == history(whole.path)


@pytest.mark.parametrize(
    "changes",
    [
        ["model.name=chiron_gft_nano"],
        pytest.param(["model.name=chiron_gft_corrected_nano"], marks=pytest.mark.slow),
        pytest.param(["model.name=chiron_h_coatnet_corrected_nano"], marks=pytest.mark.slow),
        ["model.name=chiron_vit_scratch_nano"],
        pytest.param(["model.name=chiron_convnextv2_ssa_nano"], marks=pytest.mark.slow),
        ["model.name=chiron_effnetv2_nano", "model.head=acrnn"],
        ["model.name=chiron_hybrid_lung_vit_nano", "input.mask=lung"],
        pytest.param(["model.name=test_resnet", "model.head=class_token"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_family_resumes_inside_an_epoch(tmp_path, class_folders, changes):
    """The loop alone, with dropout where the family has it, stopped after the second of four steps of an epoch."""
    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("epochs: 6, ", "epochs: 2, ").replace("0.00001", "5.0"))
    recipe = check_recipe(str(tmp_path / "recipe.yaml"), ("model.args={}", "train.ema_decay=0.5", *changes))
    manifest, labels = prepare(recipe, class_folders)
    runtime, ends = start_runtime(device="cpu", threads=1), {}

    def fitted(name: str) -> None:
        fit(recipe, manifest, labels, checkpoints=tmp_path / name, runtime=runtime, on_epoch=lambda rows: None)
        ends[name] = (list_checkpoints(tmp_path / name)[-1] / "state.safetensors").read_bytes()

    fitted("whole")
    with interrupted_after(2), pytest.raises(KeyboardInterrupt):
        fitted("stopped")
    assert list_checkpoints(tmp_path / "stopped")[-1].name == "step-00000-0000002"
    fitted("stopped")
    assert ends["stopped"] == ends["whole"]


class interrupted_after:
    """A Ctrl-C in the middle of so many steps of this process."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0

    def __enter__(self) -> None:
        from chiron.engine import fit as loop

        self.plain = loop.take_step

        def counted(*args, **kwargs):
            value = self.plain(*args, **kwargs)
            self.done += 1
            if self.done == self.steps:
                signal.raise_signal(signal.SIGINT)
            return value

        loop.take_step = counted

    def __exit__(self, *exception: object) -> None:
        from chiron.engine import fit as loop

        loop.take_step = self.plain
