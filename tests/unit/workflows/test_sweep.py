"""Sweeps: what is refused before anything runs, which runs there are, and how several processes share them."""

import csv
import json
import signal
import time

import pytest
from killed_runs import start_command

from chiron.core.errors import EngineError, SpecError
from chiron.core.files import claimed
from chiron.spec.sweep import SweepRecipe
from chiron.workflows import one_run
from chiron.workflows import sweep as module
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.sweep import sweep
from chiron.workflows.sweep_plan import Plan, run_name

pytestmark = pytest.mark.usefixtures("undrawn", "unchecked")

FOLDS = """\
recipe: tiny.yaml
set: [data.folds=2, train.epochs=1]
grid: {data.fold: [0, 1]}
"""
SEARCH = """\
recipe: tiny.yaml
set: [train.epochs=1]
search:
  train.lr: {low: 1e-5, high: 1e-2, log: true}
  train.optimizer: {choices: [adamw, sgd]}
  train.batch_size: {low: 8, high: 10}
trials: 3
metric: loss
"""


@pytest.fixture
def start(tmp_path, tiny_recipe, class_folders):
    """Starts a sweep of the text given; the same folder every time."""

    def call(text: str, **options):
        (tmp_path / "sweep.yaml").write_text(text)
        return sweep(tmp_path / "sweep.yaml", class_folders, tmp_path / "out", device="cpu", threads=1, **options)

    return call


@pytest.fixture
def no_training(monkeypatch):
    """Runs that finish at once, with a table of val; counts them."""
    started = []

    def train(recipe, data, folder, *, overrides=(), resume=False, **options):
        started.append((folder.name, overrides, resume))
        run = RunFolder(folder)
        run.write_facts(status="finished", best_epoch=1)
        (folder / "recipe.yaml").write_text("")
        number = {"value": (5 + len(started)) / 10, "low": 0.4, "high": 1.0, "note": None}
        run.metrics.write_text(json.dumps({"split": "val", "overall": {"auroc": number}}))
        return run

    monkeypatch.setattr(one_run, "train", train)
    return started


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"data.fold": 0, "train.seed": 3}, "fold-0_seed-3"),
        ({"model.name": "a", "x.name": "b"}, "model.name-a_x.name-b"),
        ({"train.lr": 0.001}, "lr-0.001"),
    ],
)
def test_names_are_short_and_readable(settings, name):
    assert run_name(settings) == name


def test_names_that_lose_something_get_a_mark_of_their_own():
    names = {run_name({"train.lr": value}) for value in (0.00012341, 0.00012342)}
    assert len(names) == 2
    assert all(name.startswith("lr-0.000123_") for name in names)
    assert run_name({"model.args": {"drop_rate": 0.1}}) != run_name({"model.args": {"drop rate": 0.1}})


def test_runs_of_one_trial_have_folders_of_their_own(tmp_path):
    grid = {"train.weight_decay": (0.00012341, 0.00012342), "data.fold": (0,)}
    long = {f"model.args.a_key_with_a_very_long_name_{k}": {"choices": ("a_rather_long_value",)} for k in range(3)}
    plan = Plan(SweepRecipe(recipe="tiny.yaml", grid=grid, search=long), "auroc", tmp_path, tmp_path)
    searched = dict.fromkeys(long, "a_rather_long_value")
    folders = {plan.folder(searched | combination, 7).name for combination in plan.sweep.combinations}
    assert len(folders) == 2
    assert all(name.startswith("trial-007_") and "_fold-0_" in name for name in folders)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FOLDS.replace("data.fold:", "data.foldd:"), "unknown key 'data.foldd'. Did you mean 'fold'?"),
        (FOLDS.replace("[0, 1]", "[0, 5]"), "fold must be 0 to 1, not 5"),
        (FOLDS.replace("grid", "gird"), "unknown key 'gird'. Did you mean 'grid'?"),
        (FOLDS.replace("[0, 1]", "[0, 0]"), "lists a value twice"),
        (FOLDS + "metric: aurok\n", "Got 'aurok'. Did you mean 'auroc'?"),
        (SEARCH.replace("high: 1e-2, ", "high: 1e-6, "), "low and a larger high"),
        (SEARCH.replace("low: 1e-5", "low: 0"), "log needs a low above 0"),
        (SEARCH.replace("high: 10", "high: ten"), "high must be a"),
        (SEARCH + "grid: {train.lr: [0.1]}\n", "stands in grid and in search"),
        ("recipe: tiny.yaml\n", "needs a grid or a search"),
    ],
)
def test_mistakes_are_told_before_anything_runs(start, no_training, tmp_path, text, told):
    with pytest.raises(SpecError) as error:
        start(text)
    assert told in str(error.value)
    assert not no_training
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_there_leave_nothing_behind(tmp_path, tiny_recipe):
    (tmp_path / "sweep.yaml").write_text(FOLDS)
    with pytest.raises(SpecError, match=r"A sweep needs images\. Got no file or folder at .*nodata"):
        sweep(tmp_path / "sweep.yaml", tmp_path / "nodata", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_combination_is_a_run_and_a_finished_one_is_skipped(start, no_training, tmp_path):
    text = FOLDS.replace("[0, 1]}", "[0, 1], train.lr: [0.1, 0.2]}")
    done = start(text)
    assert [name for name, _, _ in no_training] == ["fold-0_lr-0.1", "fold-0_lr-0.2", "fold-1_lr-0.1", "fold-1_lr-0.2"]
    assert no_training[1][1] == ("data.folds=2", "train.epochs=1", "data.fold=0", "train.lr=0.2")
    assert [run["value"] for run in done["runs"]] == [0.6, 0.7, 0.8, 0.9]
    of_settings = [(row["settings"], row["mean"], row["lowest"], row["highest"]) for row in done["settings"]]
    assert of_settings == [
        ({"train.lr": 0.1}, pytest.approx(0.7), 0.6, 0.8),
        ({"train.lr": 0.2}, pytest.approx(0.8), 0.7, 0.9),
    ]
    assert done["best"]["settings"] == {"train.lr": 0.2}
    assert start(text)["runs"] == done["runs"]
    assert len(no_training) == 4
    start(text.replace("[0.1, 0.2]", "[0.1, 0.2, 0.3]"))
    assert len(no_training) == 6
    with pytest.raises(SpecError, match=r"must be of one sweep\. Got another recipe than before"):
        start(text.replace("train.epochs=1", "train.epochs=2"))


def test_a_run_of_another_process_is_left_to_it(start, no_training, tmp_path):
    with claimed(tmp_path / "out" / ".claims" / "fold-0") as mine:
        assert mine
        (tmp_path / "out" / "sweep_settings.json").unlink(missing_ok=True)
        done = start(FOLDS)
    assert [name for name, _, _ in no_training] == ["fold-1"]
    assert [run["status"] for run in done["runs"]] == ["running", "finished"]
    assert done["settings"][0]["mean"] is None
    assert done["best"] is None
    assert [run["status"] for run in start(FOLDS)["runs"]] == ["finished", "finished"]


def test_a_run_that_cannot_finish_does_not_stop_the_others(start, no_training, monkeypatch):
    good = one_run.train

    def train(recipe, data, folder, **options):
        run = good(recipe, data, folder, **options)
        if folder.name == "fold-0":
            run.write_facts(status="trained")
            raise EngineError("The training loss must be finite. Got nan.")
        return run

    monkeypatch.setattr(one_run, "train", train)
    done = start(FOLDS)
    assert [run["status"] for run in done["runs"]] == ["failed", "finished"]
    assert done["runs"][0]["why"] == "The training loss must be finite. Got nan."


def test_folds_on_images_with_an_interruption(start, tmp_path, monkeypatch):
    """The first run stops in the middle; the sweep started again resumes it and scores no test split."""
    from chiron.workflows import train as training

    real = training.fit

    def interrupted(*args, **kwargs):
        real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(FOLDS)
    assert one_run.state_of(tmp_path / "out" / "fold-0") == "unfinished"
    monkeypatch.setattr(training, "fit", real)
    done = start(FOLDS)
    assert [run["status"] for run in done["runs"]] == ["finished", "finished"]
    for name in ("fold-0", "fold-1"):
        run = RunFolder(tmp_path / "out" / name)
        assert run.predictions("val").is_file()
        assert not run.predictions("test").is_file()
        own = next(row for row in done["runs"] if row["run"] == name)
        stored = run.read_metrics()["overall"]["auroc"]
        assert (own["value"], own["low"], own["high"]) == (stored["value"], stored["low"], stored["high"])
    assert not (tmp_path / "out" / "test_ledger.jsonl").exists()
    rows = list(csv.DictReader((tmp_path / "out" / "sweep.csv").open()))
    assert [row["data.fold"] for row in rows] == ["0", "1"]
    assert json.loads((tmp_path / "out" / "sweep.json").read_text()) == done


def test_a_search_takes_over_the_trial_of_a_dead_process(start, no_training, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    losses = iter([0.6, 0.4, 0.5, 0.9])
    monkeypatch.setattr(module, "val_estimate", lambda run, metric: {"value": next(losses), "low": 0.1, "high": 1.0})
    good, died = one_run.train, []

    def dies(*args, **options):
        died.append(args[2].name)
        raise KeyboardInterrupt

    monkeypatch.setattr(one_run, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        start(SEARCH)
    monkeypatch.setattr(one_run, "train", good)
    monkeypatch.setattr(module, "compare", lambda plan: {"runs": [], "trials": module.trials_of(plan)})
    monkeypatch.setattr(module, "_write", lambda plan, result: result)
    trials = start(SEARCH)["trials"]
    assert no_training[0][0] == died[0]  # the same trial with the same values
    assert [(trial.number, trial.state) for trial in trials] == [(k, "complete") for k in range(3)]
    assert len(no_training) == 3
    for trial in trials:
        assert 1e-5 <= trial.settings["train.lr"] <= 1e-2
        assert trial.settings["train.optimizer"] in ("adamw", "sgd")
        assert trial.settings["train.batch_size"] in (8, 9, 10)
    more = start(SEARCH.replace("trials: 3", "trials: 4"))["trials"]
    assert more[:3] == trials
    assert len(more) == 4


def test_a_smaller_loss_is_better(tmp_path):
    asked = SweepRecipe(recipe="any", grid={"train.seed": (0, 1)})
    directions = {
        name: Plan(asked, name, tmp_path, tmp_path).maximize
        for name in ("loss", "brier", "auroc", "macro_f1", "exact_match")
    }
    assert directions == {"loss": False, "brier": False, "auroc": True, "macro_f1": True, "exact_match": True}


def started(tmp_path, class_folders):
    arguments = ["sweep", tmp_path / "sweep.yaml", "--data", class_folders, "--out", tmp_path / "out"]
    return start_command([*arguments, "--device", "cpu", "--threads", "1", "-q"], tmp_path / "errors.txt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [FOLDS.replace("[0, 1]}", "[0, 1], train.seed: [0, 1]}"), SEARCH], ids=["grid", "search"]
)
def test_two_processes_and_a_kill(tmp_path, tiny_recipe, class_folders, text):
    """One of two processes is killed at work; a third takes over, and every run is done once."""
    (tmp_path / "sweep.yaml").write_text(text)
    both = [started(tmp_path, class_folders) for _ in range(2)]
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*/recipe.yaml")) and time.monotonic() < deadline:
        time.sleep(0.01)
    both[0].kill()
    third = started(tmp_path, class_folders)
    for process, code in zip((*both, third), (-signal.SIGKILL, 0, 0), strict=True):
        process.join()
        assert process.exitcode == code, (tmp_path / "errors.txt").read_text()
    runs = json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in runs] == ["finished"] * (4 if "grid" in text else 3)
    assert len({run["run"] for run in runs}) == len(runs)


@pytest.mark.slow
def test_ray_does_the_same_runs(start, tmp_path):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        done = start(FOLDS, ray=True)
    finally:
        ray.shutdown()
    assert [(run["run"], run["status"]) for run in done["runs"]] == [("fold-0", "finished"), ("fold-1", "finished")]
