"""Wrong input gets one clear sentence, the right exit code, no traceback, and loses nothing."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
from killed_runs import fill_the_disk, limit_files, start_command

from chiron.cli.main import run

pytestmark = pytest.mark.usefixtures("undrawn", "unchecked")

BAD_RECIPE = """\
model:
  name: chiron_h_coatnet_nan
  init: scratch
input:
  img_size: 96
train:
  epocs: 3
  epochs: 2
  lr: fast
"""


@pytest.fixture
def fails(capsys):
    """Runs a command that must fail; returns its one message."""

    def call(*arguments: object, code: int = 2) -> str:
        assert run([str(argument) for argument in arguments]) == code
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return "\n".join(line for line in err.splitlines() if line.startswith("chiron: "))

    return call


def train_arguments(recipe, data, tmp_path):
    return ["train", recipe, "--data", data, "--out", tmp_path / "run", "--quiet", "--device", "cpu"]


def test_three_mistakes_are_three_lines(tmp_path, fails):
    (tmp_path / "bad.yaml").write_text(BAD_RECIPE)
    lines = fails("check", tmp_path / "bad.yaml").splitlines()
    assert len(lines) == 3
    assert "bad.yaml:2: model.name must be a known name. Got 'chiron_h_coatnet_nan'. Did you mean" in lines[0]
    assert "bad.yaml:7: unknown key 'train.epocs'. Did you mean 'epochs'?" in lines[1]
    assert "bad.yaml:9: train.lr must be a number. Got 'fast'." in lines[2]


def test_keys_that_fit_no_other_key_are_told_with_their_line(tmp_path, tiny_recipe, fails):
    def told(*lines: str) -> list[str]:
        text = tiny_recipe.read_text().replace("train: {", "train: {\n").replace(", num_workers: 0}", "")
        (tmp_path / "bad.yaml").write_text("\n".join([text.split("evaluate")[0].rstrip() + ",", *lines, "}"]))
        return fails("check", tmp_path / "bad.yaml").splitlines()

    assert told("ema_decay: 0.9,", "ema_from_epoch: 2") == [
        f"chiron: {tmp_path}/bad.yaml:9: train.ema_from_epoch: must be smaller than epochs (2), not 2."
    ]
    assert told("class_weight_cap: 10") == [
        f"chiron: {tmp_path}/bad.yaml:8: train.class_weight_cap: needs class_weights to cap, not 10 alone; "
        "for example class_weights: balanced."
    ]
    assert told("loss: bce,", "label_smoothing_over: others,", "label_smoothing: 0.1") == [
        f"chiron: {tmp_path}/bad.yaml:9: train.label_smoothing_over must be all with train.loss bce, which does not "
        "use it. Got others. Leave it out, or use train.loss cross_entropy.",
        f"chiron: {tmp_path}/bad.yaml:10: train.label_smoothing must be 0.0 with train.loss bce, which does not "
        "use it. Got 0.1. Leave it out, or use train.loss cross_entropy.",
    ]


def test_train_refuses_a_key_that_the_loss_ignores(tmp_path, class_folders, tiny_recipe, fails):
    changes = ["--set", "train.loss=bce", "--set", "labels.one_logit=true", "--set", "train.label_smoothing=0.1"]
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path), *changes)
    assert message.count("train.label_smoothing must be 0.0 with train.loss bce") == 1
    assert not (tmp_path / "run").exists()


def test_overfit_check_that_fails_has_exit_code_1(tmp_path, class_folders, tiny_recipe, capsys, monkeypatch):
    monkeypatch.setattr("chiron.workflows.overfit.MIN_EPOCHS", 2)
    arguments = [*train_arguments(tiny_recipe, class_folders, tmp_path), "--overfit", "8", "--set", "train.lr=1e-12"]
    assert run([str(argument) for argument in arguments]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("overfit check: accuracy 0.5")
    assert out[0].endswith("did not reach 0.95")
    assert out[1].startswith("What to try: ")
    assert not (tmp_path / "run" / "bundle").exists()


def test_overfit_check_has_no_test_score(tmp_path, class_folders, tiny_recipe, fails):
    arguments = train_arguments(tiny_recipe, class_folders, tmp_path)
    assert "has no bundle to score" in fails(*arguments, "--overfit", "8", "--score-test")
    assert "at most the number of training images" in fails(*arguments, "--overfit", "800")
    assert not (tmp_path / "run").exists()


def test_copying_a_recipe_keeps_what_is_there(tmp_path, fails):
    (tmp_path / "mine.yaml").write_text("mine")
    message = fails("recipes", "copy", "kermany/h_coatnet_nano", "--out", tmp_path / "mine.yaml")
    assert "must not exist yet" in message
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert run(["recipes", "copy", "kermany/h_coatnet_nano", "--out", str(tmp_path / "mine.yaml"), "--force"]) == 0
    assert "Did you mean" in fails("recipes", "copy", "kermany/h_coatnet_nanno")


def test_empty_folder(tmp_path, tiny_recipe, fails):
    (tmp_path / "empty").mkdir()
    message = fails(*train_arguments(tiny_recipe, tmp_path / "empty", tmp_path))
    assert "must hold images. Got no file at all" in message
    assert not (tmp_path / "run").exists()


def test_missing_folder(tmp_path, tiny_recipe, fails):
    assert "does not exist" in fails(*train_arguments(tiny_recipe, tmp_path / "nowhere", tmp_path))


def test_one_class_only(tmp_path, class_folders, tiny_recipe, fails):
    for path in (class_folders / "well").iterdir():
        path.unlink()
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path))
    assert "at least two classes. Got one: sick" in message


@pytest.mark.parametrize("content", ["truncated", "empty", "text"])
def test_broken_image_is_named(tmp_path, class_folders, tiny_recipe, fails, content):
    from PIL import Image

    broken = class_folders / "sick" / "broken one.jpg"
    Image.new("L", (64, 64), 90).save(broken)
    whole = broken.read_bytes()
    broken.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no image"}[content])
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path))
    assert "Every image must be there and decode. Got 1 that do not: sick/broken one.jpg." in message
    assert "--set data.unreadable=exclude" in message
    assert not (tmp_path / "run").exists()
    if content == "truncated":  # what the others are told leads to the same
        arguments = [*train_arguments(tiny_recipe, class_folders, tmp_path), "--set", "data.unreadable=exclude"]
        assert run([str(argument) for argument in arguments]) == 0


def test_two_classes_need_a_positive_one(tmp_path, class_folders, tiny_recipe, fails):
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path), "--set", "labels.positive=null")
    assert "must name the class of interest when there are two (sick, well)" in message
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path), "--set", "labels.positive=il")
    assert "Got 'il'" in message


def test_output_below_a_file(tmp_path, class_folders, tiny_recipe, fails):
    (tmp_path / "file").write_text("mine")
    message = fails("train", tiny_recipe, "--data", class_folders, "--out", tmp_path / "file" / "run", "-q")
    assert "is a file" in message
    assert (tmp_path / "file").read_text() == "mine"


def test_existing_output_is_kept(tmp_path, class_folders, tiny_recipe, fails):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    assert "--force" in fails(*train_arguments(tiny_recipe, class_folders, tmp_path))
    assert "replaces only a Chiron run" in fails(*train_arguments(tiny_recipe, class_folders, tmp_path), "--force")
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "recipe.yaml").write_text("mine")
    assert "Go on with it by --resume" in fails(*train_arguments(tiny_recipe, class_folders, tmp_path))
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "mine"


@pytest.mark.parametrize("verb", [[], ["data"], ["bundle"]])
def test_without_a_verb_the_help_is_shown_as_it_is(verb, capsys):
    assert run(verb) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: {' '.join(['chiron', *verb])} ")
    assert err == ""


def test_wrong_options_are_the_users_mistake(fails):
    assert "No such option" in fails("train", "--epochs", "3")
    assert "No such command" in fails("tran")
    assert "Did you mean" in fails("train", "phantom_cxr/h_coatnet_nanno", "--data", "x")


def test_leak_stops_with_exit_code_1_and_can_be_accepted_by_name(tmp_path, class_folders, tiny_recipe, fails):
    split = tmp_path / "split"
    for k, path in enumerate(sorted(class_folders.rglob("*.png"))):
        part = ("train", "train", "val", "test")[k // 2 % 4]
        target = split / part / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    copied = next((split / "train" / "sick").iterdir())
    (split / "test" / "sick" / "copy.png").write_bytes(copied.read_bytes())
    message = fails(*train_arguments(tiny_recipe, split, tmp_path), code=1)
    assert "No patient, group or picture may stand in two splits. Got 1 that do" in message
    assert not (tmp_path / "run").exists()

    assert run(["data", "inspect", str(split), "--leaks", str(tmp_path / "leaks.yaml"), "-q"]) == 1
    accept = ["--set", f"data.accept_leaks=@{tmp_path / 'leaks.yaml'}"]
    assert run([str(a) for a in [*train_arguments(tiny_recipe, split, tmp_path), *accept, "--score-test"]]) == 0
    name = copied.stem
    assert (
        f"{name}~copy" in (tmp_path / "run" / "report.html").read_text()
        or f"copy~{name}" in (tmp_path / "run" / "report.html").read_text()
    )
    out = tmp_path / "again"
    assert run(["evaluate", str(tmp_path / "run" / "predictions" / "test.csv"), "--out", str(out), "-q"]) == 0
    assert "copy" in (out / "report.html").read_text()
    assert "accepted by name: 1." in (tmp_path / "run" / "bundle" / "README.md").read_text()


def test_predict_names_the_bad_file_and_does_the_rest(tmp_path, trained_run, class_folders, capsys):
    bad = class_folders / "sick" / "bad.png"
    bad.write_bytes(b"\x89PNG....")
    out = tmp_path / "preds.csv"
    assert run(["predict", str(trained_run.bundle), str(class_folders), "--out", str(out)]) == 2
    assert "bad.png" in capsys.readouterr().err
    rows = out.read_text().splitlines()
    assert len(rows) == 1 + 41
    assert sum("unreadable" in row for row in rows) == 1


def test_predict_with_nothing_usable(tmp_path, trained_run, fails):
    (tmp_path / "a.png").write_bytes(b"")
    assert "must not be empty. Got 0 bytes in a.png" in fails("predict", trained_run.bundle, tmp_path / "a.png")
    assert "that exists" in fails("predict", trained_run.bundle, tmp_path / "nothing*.png")


def test_damaged_bundle_is_refused(tmp_path, trained_run, class_folders, fails):
    import shutil

    bundle = shutil.copytree(trained_run.bundle, tmp_path / "bundle")
    image = next((class_folders / "sick").iterdir())
    weights = bytearray((bundle / "weights.safetensors").read_bytes())
    weights[-5] ^= 1
    (bundle / "weights.safetensors").write_bytes(weights)
    assert "checksums must hold" in fails("predict", bundle, image)
    assert "must be a folder with bundle.json" in fails("predict", class_folders, image)
    text = (trained_run.bundle / "bundle.json").read_text()
    (bundle / "weights.safetensors").write_bytes((trained_run.bundle / "weights.safetensors").read_bytes())
    (bundle / "bundle.json").write_text(text.replace('"sick"', '"well"', 1))
    assert "checksums must hold" in fails("predict", bundle, image)


@pytest.mark.parametrize("limit", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1_000, 60_000)), 20_000])
def test_full_disk(tmp_path, class_folders, tiny_recipe, limit):
    """No file may grow beyond `limit` bytes: the manifest, a checkpoint, or a later file fails."""
    arguments, errors = train_arguments(tiny_recipe, class_folders, tmp_path), tmp_path / "errors.txt"
    process = start_command([*arguments, "--threads", "1"], errors, first=functools.partial(limit_files, limit))
    process.join()
    told = errors.read_text()
    assert process.exitcode == 3, told
    assert "Traceback" not in told
    assert told.count("chiron: The output must be writable. Got File too large") == 1
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_ctrl_c_keeps_a_checkpoint_and_resumes(tmp_path, class_folders, tiny_recipe):
    command = [sys.executable, "-m", "chiron.cli.main", "train", str(tiny_recipe), "--data", str(class_folders)]
    command += ["--out", str(tmp_path / "run"), "--set", "train.epochs=2000", "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "continue with --resume" in err
    from chiron.engine.checkpoint import list_checkpoints

    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def test_nan_loss_stops_with_one_sentence(tmp_path, class_folders, tiny_recipe, fails):
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path), "--set", "train.lr=1e30", code=3)
    assert "The training loss must be finite" in message


@pytest.mark.parametrize("clip", ["1.0", "null"])
def test_an_exploding_gradient_stops_before_it_is_kept(tmp_path, class_folders, tiny_recipe, fails, monkeypatch, clip):
    """An infinite gradient in the last step of the second epoch: the checkpoint of the first stays the newest."""
    import torch

    from chiron.engine import fit as loop
    from chiron.engine.checkpoint import list_checkpoints

    plain, steps = loop.Checkpoints.is_due, []
    step, per_epoch = loop.take_step, 4

    def exploding(setup, *args):
        steps.append(1)
        if len(steps) == 2 * per_epoch:
            weight = next(p for p in setup.state.model.parameters() if p.requires_grad)
            weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
        assert setup.batches.num_batches == per_epoch
        return step(setup, *args)

    monkeypatch.setattr(loop, "take_step", exploding)
    monkeypatch.setattr(loop.Checkpoints, "is_due", lambda self, progress: plain(self, progress) or len(steps) > 4)
    changes = ["--set", f"train.clip_grad={clip}", "--set", "train.epochs=4"]
    message = fails(*train_arguments(tiny_recipe, class_folders, tmp_path), *changes, code=3)
    what = (
        "norm of the gradient must be finite. Got" if clip != "null" else "weights must be finite to be kept. Got NaN"
    )
    assert what in message
    assert "the last checkpoint is intact" in message
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert newest.name == f"step-00001-{per_epoch - 1:07d}"
    stored = safetensors.torch.load_file(newest / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for name, tensor in stored.items() if name.startswith("model."))


def test_a_disk_that_fills_up_in_a_checkpoint_keeps_the_one_before(tmp_path, class_folders, tiny_recipe):
    """The third checkpoint is half written when the disk is full; with space again the run goes on to its end."""
    from chiron.engine.checkpoint import list_checkpoints

    arguments = [*train_arguments(tiny_recipe, class_folders, tmp_path), "--set", "train.epochs=4", "--threads", "1"]
    process = start_command(arguments, tmp_path / "errors.txt", first=fill_the_disk)
    process.join()
    told = (tmp_path / "errors.txt").read_text()
    assert process.exitcode == 3, told
    assert "Traceback" not in told
    assert told.count("chiron: The output must be writable. Got No space left on device") == 1
    folder = tmp_path / "run" / "checkpoints"
    assert [path.name for path in list_checkpoints(folder)] == ["step-00001-0000000", "step-00002-0000000"]
    assert len(list(folder.iterdir())) == 2
    assert run(["train", "--resume", "--out", str(tmp_path / "run"), "--device", "cpu", "--quiet"]) == 0


@pytest.mark.slow
def test_checkpoints_that_may_not_be_written_are_one_sentence(tmp_path, class_folders, tiny_recipe):
    """The folder belongs to somebody else; run by root without the right to pass over that."""
    arguments = [str(argument) for argument in train_arguments(tiny_recipe, class_folders, tmp_path)]
    arguments += ["--set", "train.epochs=2000", "--threads", "1"]
    command = [sys.executable, "-c", "from chiron.cli.main import main; main()", *arguments]
    if os.geteuid() == 0:
        if (setpriv := shutil.which("setpriv")) is None:
            pytest.skip("root may write everywhere, and setpriv (util-linux) is not here to give that up")
        command = [setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "run" / "checkpoints"
    while process.poll() is None and not list(folder.glob("step-*")):
        time.sleep(0.05)
    folder.chmod(0o500)
    err = process.communicate(timeout=60)[1]
    folder.chmod(0o700)
    assert process.returncode == 3, err
    assert err.count("chiron: The output must be writable. Got Permission denied") == 1
    assert "Traceback" not in err
    from chiron.engine.checkpoint import list_checkpoints

    for checkpoint in list_checkpoints(folder):
        assert safetensors.torch.load_file(checkpoint / "state.safetensors")
    assert list_checkpoints(folder)


@pytest.mark.slow
def test_a_dead_worker_ends_the_command_and_the_run_goes_on(tmp_path, class_folders, tiny_recipe):
    """A process that decodes is killed, as the system does when memory runs out; then resumed, and Ctrl-C."""
    import psutil

    from chiron.engine.checkpoint import list_checkpoints

    arguments = [*train_arguments(tiny_recipe, class_folders, tmp_path), "--threads", "1"]
    arguments += ["--set", "train.epochs=5000", "--set", "train.num_workers=1"]
    folder, errors = tmp_path / "run" / "checkpoints", tmp_path / "errors.txt"
    process = start_command(arguments, errors)
    while process.is_alive() and not list_checkpoints(folder):
        time.sleep(0.05)
    workers = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)
    process.join(timeout=60)
    assert process.exitcode == 3, errors.read_text()
    assert errors.read_text().count("chiron: The processes that decode images must live.") == 1
    assert "Traceback" not in errors.read_text()
    before = list_checkpoints(folder)[-1].name
    resumed = start_command(["train", "--resume", "--out", tmp_path / "run", "--device", "cpu"], errors)
    while resumed.is_alive() and list_checkpoints(folder)[-1].name == before:
        time.sleep(0.05)
    os.kill(resumed.pid, signal.SIGINT)
    resumed.join(timeout=60)
    assert resumed.exitcode == 130, errors.read_text()
    assert list_checkpoints(folder)[-1].name > before


def test_a_sanity_run_says_what_it_is(tmp_path, class_folders, tiny_recipe, capsys):
    arguments = [str(argument) for argument in train_arguments(tiny_recipe, class_folders, tmp_path)]
    assert run([*arguments, "--sanity-run", "2", "--quiet"]) == 0
    assert "sanity run passed: 2 steps of training; the numbers below are not a result" in capsys.readouterr().out


def test_evaluate_needs_something_to_evaluate(tmp_path, trained_run, fails):
    assert "takes a run folder, a bundle or a predictions CSV" in fails("evaluate", tmp_path)
    assert "Add --data PATH" in fails("evaluate", trained_run.bundle, "--out", tmp_path / "e")
    (tmp_path / "t.csv").write_text("sample_id,y_true,prob_a,prob_b\n1,a,0.6,0.4\n2,b,0.1,0.9\n")
    assert "positive" in fails("evaluate", tmp_path / "t.csv", "--out", tmp_path / "e")


@pytest.fixture
def labels(tmp_path, class_folders):
    """A table of the class folders' images; a function writes it with other rows or bytes."""

    def write(*rows: str, encoding: str = "utf-8") -> object:
        paths = sorted(class_folders.rglob("*.png"))
        known = [f"{path.relative_to(class_folders).as_posix()},{path.parent.name}" for path in paths]
        (tmp_path / "labels.csv").write_text("\n".join(["image,label", *known, *rows]), encoding=encoding)
        return tmp_path / "labels.csv"

    return write


@pytest.mark.parametrize(
    ("rows", "encoding", "message"),
    [
        (["sick/nowhere.png,sick"], "utf-8", "must be there and decode. Got 1 that do not: sick/nowhere.png. Put"),
        (
            ["sick/Bild 000 ä.png,well"],
            "utf-8",
            "in lines 2, 42 of labels.csv. Remove",
        ),
        (["Bild 000 ä,sick"], "utf-8", "Got sick/Bild 000 ä.png, Bild 000 ä for sick/Bild 000 ä.png. Remove one"),
        ([], "cp1252", "must be UTF-8 text. Got the byte 0xe4 in line 2 of labels.csv. Save it as"),
        (["x.png"], "utf-8", "as many cells as the header (2). Got 1 in line 42 of labels.csv"),
    ],
    ids=["missing image", "row twice", "image twice", "encoding", "ragged"],
)
def test_faults_of_tables_stop_a_training(tmp_path, tiny_recipe, class_folders, labels, fails, rows, encoding, message):
    table = labels(*rows, encoding=encoding)
    said = fails(*train_arguments(tiny_recipe, table, tmp_path), "--images", class_folders)
    assert message in said
    assert said.count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_tables_that_are_not_there(tmp_path, tiny_recipe, class_folders, labels, fails):
    assert "A table must exist. Got" in fails("data", "inspect", tmp_path / "none.csv")
    table = labels()
    assert "A table must be readable. Got No such file" in fails(
        "data", "inspect", table, "--images", class_folders, "--metadata", tmp_path / "none.csv"
    )
    assert "Got another file" in fails("data", "inspect", table, "--images", table)
    said = fails("data", "inspect", table, "--images", class_folders, "--group-by", "ward")
    assert "A column to group by must be one of" in said


def test_a_model_and_its_mask_belong_together(tiny_recipe, class_folders, tmp_path, fails):
    needs = ["--set", "model.name=chiron_hybrid_lung_vit_nano"]
    sentence = "input.mask none. Set input.mask: lung."
    assert fails("check", tiny_recipe, *needs).endswith(f"takes an image and its mask. Got {sentence}")
    assert sentence in fails(*train_arguments(tiny_recipe, class_folders, tmp_path), *needs)
    told = fails("check", tiny_recipe, "--set", "input.mask=lung")
    assert told.endswith("chiron_fair_cnn_nano takes an image alone. Got input.mask lung. Leave it out.")
    assert run(["check", str(tiny_recipe), *needs, "--set", "input.mask=lung"]) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["input.img_size=225"], "multiples of 16 pixels. Got 225 x 225. Use for example img_size 224"),
        (["model.args.drop_rat=0.1"], "Got 'drop_rat'. Take it out of model.args"),
        (["model.init=imported", "model.weights=nothere.safetensors"], "The file of model.weights must exist"),
        (["model.init=imagenet"], "needs a model with ImageNet weights. Got 'chiron_h_coatnet_nano'"),
        (["model.head=acrnn"], "which always pools. Choose another network"),
    ],
)
def test_a_network_that_does_not_fit_is_told_before_any_data_is_read(fails, tmp_path, changes, told):
    """Nothing is left behind, so that the same command can be given again without --force."""
    settings = [part for change in changes for part in ("--set", change)]
    said = fails(*train_arguments("general/h_coatnet_nano", tmp_path / "unread", tmp_path), *settings)
    assert told in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["study", "s.yaml"],
        ["sweep", "s.yaml", "--data", "d", "--out", "o"],
        ["calibrate", "run"],
        ["compare", "a", "b"],
        ["plan", "x"],
        ["plan", "--half-width", "0.1"],
    ],
)
def test_the_work_of_one_process_is_refused_under_torchrun(monkeypatch, capsys, command):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(command) == 2
    assert capsys.readouterr().err == (
        f"chiron: chiron {command[0]} is the work of one process. Got 2 of them, started together by torchrun. "
        "Start it without torchrun.\n"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["study", "missing.yaml"], "A study must be a readable YAML file. Got no such file at missing.yaml."),
        (["study", "folder.yaml"], "A study must be a readable YAML file. Got a folder at folder.yaml."),
        (["study", "short.yaml"], "short.yaml:2: the file must be valid YAML."),
        (["study", "table.csv"], "table.csv:1: the file must be a mapping of keys."),
        (["sweep", "missing.yaml", "--data", "folder", "--out", "o"], "Got no such file at missing.yaml."),
        (["plan", "folder"], "chiron plan takes a run folder, a manifest or a predictions CSV. Got folder."),
        (["plan", "folder.csv"], "chiron plan takes a run folder, a manifest or a predictions CSV. Got folder.csv."),
        (["calibrate", "folder"], "A run folder must hold run.json and recipe.yaml. Got folder."),
        (["compare", "folder", "missing"], "predictions CSVs. Got folder. Check the path."),
        (["compare", "--methods", "a=missing"], "Got nothing at missing for a."),
        (["bundle", "show", "folder"], "must be a folder with bundle.json, or one zip. Got no bundle.json at folder."),
        (["evaluate", "folder"], "chiron evaluate takes a run folder, a bundle or a predictions CSV. Got folder."),
        (["evaluate", "missing.csv"], "table must be a readable CSV file. Got no such file at missing.csv."),
        (["evaluate", "folder.csv"], "table must be a readable CSV file. Got a folder at folder.csv."),
        (["check", "phantom_cxr/fair_cnn_nano", "--set", "data.accept_leaks=@missing"], "Got no such file in --set"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_something_else_is_one_sentence(fails, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.yaml", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "short.yaml").write_text('question: "a\ndata: [1,')
    (tmp_path / "table.csv").write_text("sample_id,y_true\n1,a\n")
    told = fails(*command)
    assert message in told
    assert len(told.splitlines()) == 1
    assert "rrno" not in told
    assert "os error" not in told
    assert told.endswith(".")
