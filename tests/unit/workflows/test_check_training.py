"""What `chiron check` says of optimizers, schedules, selection, and keys that do nothing."""

import pytest

from chiron.core.errors import SpecError
from chiron.workflows.check import check_recipe, recipe_warnings


def warnings(tiny_recipe, *changes: str) -> list[str]:
    return recipe_warnings(check_recipe(str(tiny_recipe), tuple(f"train.{change}" for change in changes)))


@pytest.mark.parametrize(
    ("change", "why", "helps"),
    [
        ("momentum=0.5", "train.optimizer adamw", ["optimizer=lars"]),
        ("schedule_per=epoch", "train.schedule constant", ["warmup_epochs=1", "warmup_lr=1e-5"]),
        ("warmup_lr=1e-5", "train.warmup_epochs 0", ["warmup_epochs=1"]),
        ("min_lr=1e-5", "train.schedule constant", ["schedule=plateau"]),
        ("restart_epochs=1", "train.schedule constant", ["schedule=warm_restarts"]),
        ("restart_mult=2", "train.schedule constant", ["schedule=warm_restarts", "restart_epochs=1"]),
        ("plateau_factor=0.2", "train.schedule constant", ["schedule=plateau"]),
        ("plateau_patience=3", "train.schedule constant", ["schedule=plateau"]),
        ("weight_decay_on=weights", "train.weight_decay 0", ["weight_decay=0.1"]),
        ("mix_from_epoch=1", "neither mixup_alpha nor cutmix_alpha", ["mixup_alpha=0.2"]),
        ("ema_from_epoch=1", "no train.ema_decay", ["ema_decay=0.9"]),
        ("ema_bias_correction=false", "no train.ema_decay", ["ema_decay=0.9"]),
        ("min_delta=0.1", "no train.patience", ["patience=3"]),
        ("log_details=true", "no train.loggers", ["loggers=[tensorboard]"]),
        ("shard=true", "one process; torchrun starts several", None),
    ],
)
def test_keys_without_effect_are_told(tiny_recipe, change, why, helps):
    base = ["schedule=constant", "weight_decay=0"]
    told = f"train.{change.partition('=')[0]} has no effect with {why}."
    assert warnings(tiny_recipe, *base, change) == [told]
    assert warnings(tiny_recipe, *base) == []
    if helps is not None:
        assert told not in warnings(tiny_recipe, *base, change, *helps)


def test_sharding_over_several_processes_is_not_told(tiny_recipe, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert warnings(tiny_recipe, "shard=true") == []


def test_one_cycle_has_its_own_warm_up_and_momentum(tiny_recipe):
    told = " ".join(warnings(tiny_recipe, "schedule=one_cycle", "optimizer=sgd", "momentum=0.5", "warmup_epochs=1"))
    assert "train.momentum has no effect with train.schedule one_cycle, which sets it." in told
    assert "train.warmup_epochs has no effect with train.schedule one_cycle, which rises by itself." in told


def test_restarts_and_plateaus_that_never_come_are_told(tiny_recipe):
    told = warnings(tiny_recipe, "schedule=warm_restarts", "epochs=20", "restart_epochs=20")
    assert told == [
        "train.schedule warm_restarts never restarts: train.restart_epochs 20 are not over before train.epochs 20."
    ]
    assert warnings(tiny_recipe, "schedule=warm_restarts", "epochs=20", "restart_epochs=19") == []
    told = warnings(tiny_recipe, "schedule=plateau", "plateau_patience=3", "patience=3")
    assert told[0].startswith("train.schedule plateau never lowers the rate: train.patience 3")
    told = warnings(tiny_recipe, "schedule=plateau", "plateau_patience=3", "patience=4")  # lowered as it stops
    assert told[0].endswith("that takes at least 5.")
    assert warnings(tiny_recipe, "schedule=plateau", "plateau_patience=3", "patience=5") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["optimizer=adamww"], r"train\.optimizer must be a known name\. Got 'adamww'\. Did you mean 'adamw'"),
        (["optimizer=lookahead_adamw"], r"train\.optimizer must be a known name\. Got 'lookahead_adamw'"),
        (["optimizer=bnbadam8bit"], r"train\.optimizer must be a known name"),
        (["select_by=nonsense"], r"train\.select_by must be a known name \(accuracy, auroc, .*\)\. Got 'nonsense'"),
        (["select_by=macro_f2"], r"train\.select_by must be a known name\. Got 'macro_f2'\. Did you mean 'macro_f1'"),
        (["optimizer_args={beta: [0.9, 0.9]}"], r"of adamw must be among betas, eps, .* Did you mean 'betas'"),
        (["optimizer_args={lr: 0.1}"], r"Got 'lr'\. Set train\.lr\."),
        (
            ["optimizer=lion", "optimizer_args={eps: 0.1}"],
            r"train\.optimizer_args of lion must be among betas, caution",
        ),
        (["optimizer=sgd", "optimizer_args={momentum: 0.5}"], r"Got 'momentum'\. Set train\.momentum\."),
    ],
)
def test_mistakes_are_told(tiny_recipe, changes, message):
    with pytest.raises(SpecError, match=message):
        warnings(tiny_recipe, *changes)


@pytest.mark.parametrize("name", ["loss", "brier", "ece", "average_precision", "weighted_f1", "sensitivity", "ppv"])
def test_every_number_can_choose_the_epoch(tiny_recipe, name):
    assert warnings(tiny_recipe, f"select_by={name}") == []
