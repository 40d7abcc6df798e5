"""What each option of the loop does, on a data set of 40 small images."""

import json

import numpy as np
import pytest
import torch

from chiron.classifier import Classifier
from chiron.core.errors import DataError, EngineError, SpecError
from chiron.engine.checkpoint import TrainingState, list_checkpoints, load_checkpoint
from chiron.engine.selection import is_better, selection_metrics
from chiron.spec.labels import LabelSpace
from chiron.workflows.check import check_recipe
from chiron.workflows.train import train

BINARY = LabelSpace(names=("sick", "well"), positive="sick")


@pytest.fixture
def fitted(tmp_path, class_folders, tiny_recipe):
    def call(*changes: str, name: str = "run"):
        return train(str(tiny_recipe), class_folders, tmp_path / name, overrides=changes, device="cpu", threads=1)

    return call


@pytest.fixture
def quick_fit(tmp_path, class_folders, tiny_recipe):
    """The loop alone, on a prepared data set: no bundle, no report."""
    from chiron.engine.fit import fit
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    manifest, labels = prepare(check_recipe(str(tiny_recipe)), class_folders)
    runtime = start_runtime(device="cpu", threads=1)

    def call(*changes: str):
        recipe, place = check_recipe(str(tiny_recipe), changes), tmp_path / "checkpoints"
        as_asked = labels.model_copy(update={"one_logit": recipe.labels.one_logit})
        return fit(recipe, manifest, as_asked, checkpoints=place, runtime=runtime, on_epoch=lambda history: None)

    call.manifest, call.checkpoints, call.recipe = manifest, tmp_path / "checkpoints", tiny_recipe
    return call


def weights(run) -> bytes:
    return (run.bundle / "weights.safetensors").read_bytes()


def test_learns_a_visible_difference(fitted):
    run = fitted("train.epochs=12", "train.lr=1e-2")
    history = run.read_history()
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert max(row["val_auroc"] for row in history) > 0.95


def test_two_runs_are_equal_and_a_seed_makes_another(fitted):
    one, two, other = fitted(name="a"), fitted(name="b"), fitted("train.seed=1", name="c")
    assert weights(one) == weights(two)
    assert weights(one) != weights(other)


def test_the_bundle_holds_the_best_epoch_not_the_last(fitted):
    run = fitted("train.epochs=6", "train.lr=3e-2", "train.select_by=loss")
    history = run.read_history()
    best = min(history, key=lambda row: row["val_loss"])
    provenance = json.loads((run.bundle / "bundle.json").read_text())["provenance"]
    assert provenance["best_epoch"] == best["epoch"]
    assert provenance["selection_value"] == best["val_loss"]
    assert run.read_metrics()["overall"]["log_loss"]["value"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_the_best_weights_are_a_copy_that_later_steps_do_not_change(fitted, monkeypatch):
    """The val metric is best in epoch 2 of 4; the bundle holds the weights of that moment, bit for bit."""
    from safetensors.torch import load

    from chiron.engine import fit as loop

    seen, values = [], iter([0.6, 0.9, 0.8, 0.7])

    def validate(setup, network):
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return {"loss": 1.0, "auroc": next(values)}

    monkeypatch.setattr(loop, "_validate", validate)
    stored = load(weights(fitted("train.epochs=4")))
    for name, tensor in seen[1].items():
        torch.testing.assert_close(stored[f"member_0.{name}"], tensor, rtol=0, atol=0)
    assert not torch.equal(seen[1]["head.weight"], seen[3]["head.weight"])


def test_early_stopping_stops_exactly(quick_fit, monkeypatch):
    """The val metric is best in epoch 2 and never again: patience 3 ends after epoch 5."""
    from chiron.engine import fit as loop

    values = iter([0.6, 0.9, 0.8, 0.9, 0.7, 1.0, 1.0])
    monkeypatch.setattr(loop, "_validate", lambda *args: {"loss": 1.0, "auroc": next(values)})
    progress = quick_fit("train.epochs=7", "train.patience=3").progress
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4, 5]
    assert progress.best_epoch == 2


def test_bf16_trains_and_is_scored_in_fp32(fitted):
    run = fitted("train.precision=bf16")
    assert weights(run) != weights(fitted(name="fp32"))
    checkpoint = list_checkpoints(run.checkpoints)[-1]
    assert json.loads((checkpoint / "state.json").read_text())["progress"]["setting"]["precision"] == "bf16"


@pytest.mark.slow
def test_every_key_reaches_the_weights(quick_fit):
    import shutil

    ends = {}
    for changes in (
        (),
        ("train.optimizer=sgd",),
        ("train.optimizer=sgd", "train.momentum=0.5"),
        ("train.optimizer=adam",),
        ("train.optimizer=lamb",),
        ("train.optimizer_args={betas: [0.8, 0.99]}",),
        ("train.weight_decay_on=weights",),
        ("train.layer_decay=0.5",),
        ("train.schedule=constant",),
        ("train.schedule=one_cycle",),
        ("train.schedule=warm_restarts", "train.restart_epochs=1"),
        ("train.schedule=warm_restarts", "train.restart_epochs=1", "train.min_lr=1e-4"),
        ("train.schedule_per=epoch",),
        ("train.warmup_epochs=1", "train.warmup_lr=1e-4"),
        ("train.label_smoothing=0.1",),
        ("train.label_smoothing=0.1", "train.label_smoothing_over=others"),
        ("train.sampler=balanced",),
        ("train.ema_decay=0.5",),
        ("train.ema_decay=0.5", "train.ema_bias_correction=false"),
        ("train.ema_decay=0.5", "train.ema_from_epoch=1"),
        ("train.loss=focal",),
        ("train.loss=focal", "train.focal_gamma=1"),
        ("train.mixup_alpha=1",),
        ("train.cutmix_alpha=1",),
        ("train.mixup_alpha=1", "train.mix_from_epoch=1"),
    ):
        shutil.rmtree(quick_fit.checkpoints, ignore_errors=True)
        # compared where the run ends: the best epoch may be the same one with or without an average
        quick_fit(*changes)
        ends[changes] = (list_checkpoints(quick_fit.checkpoints)[-1] / "state.safetensors").read_bytes()
    assert len(set(ends.values())) == len(ends)


def test_history_holds_the_rate_of_the_schedule(quick_fit):
    changes = ("train.epochs=4", "train.schedule_per=epoch", "train.warmup_epochs=2", "train.warmup_lr=1e-4")
    rates = [row["lr"] for row in quick_fit(*changes).progress.history]
    assert rates == pytest.approx([1e-4, 1e-4 + (1e-3 - 1e-4) / 2, 1e-3, 1e-3 / 2])


def test_the_average_is_what_is_validated_and_chosen(quick_fit, monkeypatch):
    """From epoch 2 on; it is the mean of what the weights were after each step since then, weighted by 0.5^age."""
    from chiron.engine import fit as loop

    name, after_steps, validated, values = "head.weight", [], [], iter([0.5, 0.9, 0.8])
    plain = loop.take_step

    def step(setup, *args):
        loss = plain(setup, *args)
        after_steps.append((setup.state.progress.epoch, setup.state.model.state_dict()[name].clone()))
        return loss

    def validate(setup, network):
        validated.append(network.state_dict()[name].clone())
        return {"loss": 1.0, "auroc": next(values)}

    monkeypatch.setattr(loop, "take_step", step)
    monkeypatch.setattr(loop, "_validate", validate)
    fitted = quick_fit("train.epochs=3", "train.ema_decay=0.5", "train.ema_from_epoch=1", "train.lr=1e-2")
    first = [tensor for epoch, tensor in after_steps if epoch == 0]
    averaged = [tensor for epoch, tensor in after_steps if epoch == 1]
    torch.testing.assert_close(validated[0], first[-1], rtol=0, atol=0)
    shares = torch.tensor([0.5**age for age in reversed(range(len(averaged)))])
    expected = (torch.stack(averaged) * (shares / shares.sum())[:, None, None]).sum(0)
    torch.testing.assert_close(validated[1], expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(validated[1], averaged[-1])
    torch.testing.assert_close(fitted.network.state_dict()[name], validated[1], rtol=0, atol=0)
    assert fitted.progress.best_epoch == 2
    assert fitted.progress.ema_updates == len([epoch for epoch, _ in after_steps if epoch >= 1])


def test_class_weights_come_from_the_training_split_alone(quick_fit, monkeypatch):
    from chiron.engine import criterion

    seen, plain = [], criterion.class_weights

    def weigh(y_train, labels, *args, **options):
        seen.append(y_train)
        return plain(y_train, labels, *args, **options)

    monkeypatch.setattr(criterion, "class_weights", weigh)
    quick_fit("train.class_weights=balanced", "train.epochs=1")
    np.testing.assert_array_equal(seen, [quick_fit.manifest.select("train").labels])


def test_two_corrections_are_told_once(fitted, caplog, monkeypatch):
    import logging

    from chiron.workflows import train as workflow

    def fit(*args, **options):
        raise EngineError("far enough")

    monkeypatch.setattr(workflow, "fit", fit)
    monkeypatch.setattr(logging.getLogger("chiron"), "propagate", True)
    with pytest.raises(EngineError, match="far enough"):
        fitted("train.sampler=balanced", "train.class_weights=balanced", "train.epochs=1")
    told = {id(record) for record in caplog.records if "correct one imbalance twice" in record.getMessage()}
    assert len(told) == 1  # a record counts once, however many handlers pass it on


def test_clipping_changes_the_weights(fitted):
    assert weights(fitted("train.clip_grad=1e-3", name="a")) != weights(fitted("train.clip_grad=null", name="b"))


def test_one_logit_trains_with_bce(fitted):
    run = fitted("labels.one_logit=true", "train.loss=bce", "train.class_weights=balanced", "train.epochs=3")
    header = (run.path / "predictions" / "val.csv").read_text().splitlines()
    column = header[0].split(",").index("logit_well")
    assert {float(line.split(",")[column]) for line in header[1:]} == {0.0}


def test_selection_metrics_equal_scikit_learn():
    from sklearn import metrics as sk

    random = np.random.default_rng(0)
    y_true, y_prob = random.integers(0, 3, 90), random.dirichlet([1, 1, 1], 90)
    got = selection_metrics(y_true, y_prob, LabelSpace(names=("a", "b", "c")))
    y_pred = y_prob.argmax(1)
    assert got["loss"] == pytest.approx(sk.log_loss(y_true, y_prob))
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(y_true, y_pred))
    assert got["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y_true, y_pred))
    assert got["macro_f1"] == pytest.approx(sk.f1_score(y_true, y_pred, average="macro"))
    assert got["precision"] == pytest.approx(sk.precision_score(y_true, y_pred, average="macro"))
    assert got["sensitivity"] == pytest.approx(sk.recall_score(y_true, y_pred, average="macro"))
    assert got["auroc"] == pytest.approx(sk.roc_auc_score(y_true, y_prob, multi_class="ovr"))
    binary = selection_metrics(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]), BINARY)
    assert binary["auroc"] == pytest.approx(0.5)  # and of the first class, which is the positive one, alone:
    assert (binary["precision"], binary["sensitivity"]) == (1.0, 0.5)
    assert selection_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), BINARY)["auroc"] is None


@pytest.mark.parametrize(
    ("key", "value", "best", "better"),
    [("auroc", 0.8, 0.7, True), ("auroc", 0.7, 0.7, False), ("loss", 0.3, 0.4, True), ("loss", 0.4, 0.4, False),
     ("auroc", None, None, False), ("auroc", 0.1, None, True), ("auroc", None, 0.1, False)],
)  # fmt: skip
def test_is_better(key, value, best, better):
    assert is_better(key, value, best) is better


def test_damaged_checkpoint_is_one_sentence(fitted):
    run = fitted()
    checkpoint = list_checkpoints(run.checkpoints)[-1]
    (checkpoint / "state.safetensors").write_bytes(b"nothing")
    model = torch.nn.Linear(2, 2)
    with pytest.raises(EngineError, match="must fit the run's recipe and be whole"):
        load_checkpoint(
            checkpoint,
            TrainingState(model, torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False)),
        )


def test_a_checkpoint_without_newer_facts_still_loads(quick_fit):
    """Facts that were added to Progress later have defaults; facts of a later Chiron are refused in one sentence."""
    trained = quick_fit()
    state_file = list_checkpoints(quick_fit.checkpoints)[-1] / "state.json"
    stored = json.loads(state_file.read_text())
    del stored["progress"]["ema_updates"]
    state_file.write_text(json.dumps(stored))
    assert quick_fit().progress == trained.progress  # finished: loaded, not trained again
    stored["progress"]["from_the_future"] = 1
    state_file.write_text(json.dumps(stored))
    with pytest.raises(EngineError, match=r"must fit the run's recipe and be whole.*from_the_future"):
        quick_fit()


def test_a_finished_run_is_not_trained_again(fitted, tmp_path):
    run = fitted()
    before = (run.bundle / "bundle.json").read_bytes()
    again = train("", None, run.path, resume=True, score_test=True, device="cpu")
    assert (again.bundle / "bundle.json").read_bytes() == before
    assert again.read_metrics()["split"] == "test"


@pytest.mark.slow
def test_a_dead_worker_is_one_sentence(tmp_path, class_folders, tiny_recipe):
    """A process that decodes images is killed, as the system does when memory runs out."""
    import os
    import signal
    import threading
    import time

    import psutil

    def kill_a_child() -> None:
        while not list_checkpoints(tmp_path / "run" / "checkpoints"):
            time.sleep(0.05)
        children = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
        # one only: torch raises once for every loader that loses one, the second time wherever pytest is by then
        os.kill(min(children, key=lambda child: child.create_time()).pid, signal.SIGKILL)

    threading.Thread(target=kill_a_child, daemon=True).start()
    changes = ("train.epochs=100000", "train.num_workers=1", "train.precision=fp32")
    with pytest.raises(EngineError, match="The processes that decode images must live"):
        train(str(tiny_recipe), class_folders, tmp_path / "run", overrides=changes, device="cpu")
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def test_a_dead_worker_is_one_sentence_also_where_the_loop_is_left(fitted, monkeypatch):
    """The connection breaks, and torch's signal comes while Ctrl-C is given back its old meaning."""
    from chiron.engine import fit as loop

    def break_off(*args):
        raise ConnectionResetError(104, "Connection reset by peer")

    def interrupted(*args):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(loop, "_train_epoch", break_off)
    monkeypatch.setattr(loop.Interruption, "__exit__", interrupted)
    monkeypatch.setattr(loop.Interruption, "__enter__", lambda self: self)
    with pytest.raises(EngineError, match=r"must live\. Got: DataLoader worker"):
        fitted()


def test_memory_that_runs_out_is_one_sentence(fitted, monkeypatch):
    from chiron.engine import fit as loop

    def allocate(*args):
        torch.empty(2**60)  # the allocator's own error

    monkeypatch.setattr(loop, "take_step", allocate)
    with pytest.raises(EngineError, match=r"must fit in memory.*Lower train\.batch_size"):
        fitted()


def test_a_checkpoint_belongs_to_its_recipe(fitted):
    run = fitted("train.epochs=3")
    run.write_facts(status="started")
    run.recipe.write_text(run.recipe.read_text().replace("lr: 0.001", "lr: 0.002"))
    with pytest.raises(EngineError, match=r"Got a changed recipe\.yaml"):
        train("", None, run.path, resume=True, device="cpu")


def test_resume_takes_the_same_command_but_no_other(fitted, tiny_recipe, class_folders):
    run = fitted()
    again = train(str(tiny_recipe), class_folders, run.path, resume=True, device="cpu")
    assert again.path == run.path
    with pytest.raises(SpecError, match=r"keeps its recipe\. Got another one \(first in train\.lr\)"):
        train(str(tiny_recipe), class_folders, run.path, overrides=("train.lr=1.0",), resume=True, device="cpu")
    with pytest.raises(SpecError, match=r"Got another one \(first in train\.lr\)"):
        train("", None, run.path, overrides=("train.lr=1.0",), resume=True, device="cpu")


def test_an_automatic_batch_size_is_resumed_by_the_same_command(fitted, tiny_recipe, class_folders):
    changes = ("train.batch_size=auto", "train.epochs=1")
    run = fitted(*changes)
    command = (str(tiny_recipe), class_folders, run.path)
    assert train(*command, overrides=changes, resume=True, device="cpu").path == run.path
    with pytest.raises(SpecError, match="keeps its recipe"):
        train(*command, overrides=(*changes, "train.lr=1.0"), resume=True, device="cpu")


def test_resuming_after_the_bundle_was_written_keeps_its_id(fitted, tmp_path):
    run = fitted()
    before = run.read_facts()["bundle_id"]
    run.write_facts(status="trained")
    train("", None, run.path, resume=True, device="cpu")
    assert run.read_facts()["bundle_id"] == before


def test_output_inside_the_images_is_refused(tiny_recipe, class_folders):
    with pytest.raises(SpecError, match="must lie outside the images"):
        train(str(tiny_recipe), class_folders, class_folders / "run", device="cpu")


def test_force_replaces_a_run_but_not_a_persons_files(fitted):
    run = fitted()
    (run.path / "notes.txt").write_text("mine")
    from chiron.workflows.run_folder import new_run

    new_run(run.path, force=True)
    assert (run.path / "notes.txt").read_text() == "mine"
    assert not run.bundle.exists()


def test_positive_class_with_three_classes_is_told_before_training(tmp_path, class_folders, tiny_recipe):
    for k, path in enumerate(sorted((class_folders / "well").iterdir())[:8]):
        (class_folders / "odd").mkdir(exist_ok=True)
        path.rename(class_folders / "odd" / f"{k}.png")
    with pytest.raises(DataError, match=r"belongs to two classes. Got 'sick' with 3 classes"):
        train(str(tiny_recipe), class_folders, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_network_with_parameters_that_are_not_learned_resumes(quick_fit):
    changes = ["model.name=chiron_hybrid_lung_vit_nano", "input.mask=lung", "train.epochs=1"]
    first = quick_fit(*changes).network
    assert first.parameters_not_learned
    again = quick_fit(*changes).network  # from the checkpoint of the end
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


# Layer norm, no augmentation and next to no learning rate: in training as in use.
STILL = ("model.name=test_vit", "augment.degrees=0", "augment.brightness=0", "train.lr=1e-12", "train.epochs=1")


@pytest.mark.parametrize("changes", [(), ("labels.one_logit=true", "train.loss=bce"), ("train.grad_accum_steps=2",)])
def test_train_accuracy_is_that_of_the_images_as_they_are_fed(quick_fit, changes):
    fitted = quick_fit(*STILL, *changes)
    manifest = quick_fit.manifest.select("train")
    recipe = check_recipe(str(quick_fit.recipe), (*STILL, *changes))
    labels = BINARY.model_copy(update={"one_logit": "labels.one_logit=true" in changes})
    classifier = Classifier([fitted.network], network_spec=fitted.network_spec, input_spec=recipe.input, labels=labels)
    paths = manifest.frame["path"].to_list()
    called = [classifier.predict(manifest.root / path).predicted_class for path in paths]
    right = np.mean(np.array(called) == manifest.frame["label"].to_numpy())
    assert fitted.progress.history[0]["train_accuracy"] == pytest.approx(right)


def test_train_accuracy_leaves_out_mixed_images(quick_fit):
    mixed = quick_fit("train.mixup_alpha=0.4", "train.mix_from_epoch=1")
    assert [("train_accuracy" in row) for row in mixed.progress.history] == [True, False]
