"""`chiron check`: a recipe against everything that can be known without torch or timm."""

import os
from collections.abc import Collection, Iterator
from importlib.metadata import version

from chiron.core.registry import leaf_literal, leaf_names
from chiron.core.suggest import did_you_mean
from chiron.spec.augment import AugmentRecipe
from chiron.spec.metric_names import directions
from chiron.spec.model_names import (
    indexed_timm_version,
    is_known_model,
    known_model_names,
    needs_mask,
    optimizer_arguments,
)
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import Recipe
from chiron.spec.strict_yaml import KeyPath
from chiron.spec.train_recipe import TrainRecipe

_LOSSES = "chiron.engine.losses"
_HEADS = "chiron.models.heads"


def check_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe, when every key, type and name in it is right.

    Raises:
        SpecError: all mistakes at once, one a line.
    """
    registries: dict[tuple[str | int, ...], Collection[str]] = {
        ("model", "name"): _ModelNames(),
        ("model", "head"): leaf_names(_HEADS),
        ("train", "loss"): leaf_names(_LOSSES),
        ("train", "optimizer"): optimizer_arguments(),
        ("train", "select_by"): directions(),
        ("train", "loggers"): leaf_names("chiron.engine.loggers"),
        ("data", "reader"): leaf_names("chiron.data.readers"),
    }
    return read_recipe(name, overrides, registries=registries, rules=_rules)


def recipe_warnings(recipe: Recipe) -> list[str]:
    """What is allowed and probably not meant, a sentence each."""
    train = recipe.train
    if train.overfit_images is not None:
        return []  # the check that a network can learn turns all of this off
    told = []
    if train.sampler == "balanced" and train.class_weights != "none":
        told.append(
            f"train.sampler balanced and train.class_weights {train.class_weights} correct one imbalance twice: "
            "probabilities are shifted twice toward the rare classes. Keep one of the two."
        )
    if train.sampler == "balanced" and recipe.augment == AugmentRecipe():
        told.append(
            "train.sampler balanced repeats images of rare classes, and without augmentation all repeats are equal. "
            "Set keys of augment."
        )
    if train.schedule_per == "epoch" and train.warmup_epochs > 0 and train.warmup_lr == 0:
        told.append("train.warmup_lr 0 with train.schedule_per epoch: nothing is learned in the first epoch.")
    if train.log_details and {"mlflow", "wandb"} & set(train.loggers):
        told.append(
            "train.log_details hands an image of val and what the network makes of it to the logger, which may send it "
            "to a server. Leave it out where images must not leave this machine."
        )
    told += [f"augment.{key} has no effect without augment.{owner}." for key, owner in recipe.augment.idle.items()]
    return told + _without_effect(train)


def _without_effect(train: TrainRecipe) -> list[str]:
    """Keys that were changed although another key makes them idle."""
    schedule, no_decay = f"train.schedule {train.schedule}", "no train.ema_decay"
    optimizer, one_cycle = f"train.optimizer {train.optimizer}", train.schedule == "one_cycle"
    no_momentum = "momentum" not in optimizer_arguments().get(train.optimizer, ())
    idle = {
        "momentum": [(no_momentum, optimizer), (one_cycle, f"{schedule}, which sets it")],
        "schedule_per": [(train.schedule == "constant" and not train.warmup_epochs, schedule)],
        "warmup_epochs": [(one_cycle, f"{schedule}, which rises by itself")],
        "warmup_lr": [(train.warmup_epochs == 0, "train.warmup_epochs 0"), (one_cycle, schedule)],
        "min_lr": [(train.schedule in ("constant", "one_cycle"), schedule)],
        "restart_epochs": [(train.schedule != "warm_restarts", schedule)],
        "restart_mult": [(train.schedule != "warm_restarts", schedule)],
        "plateau_factor": [(train.schedule != "plateau", schedule)],
        "plateau_patience": [(train.schedule != "plateau", schedule)],
        "weight_decay_on": [(train.weight_decay == 0, "train.weight_decay 0")],
        "mix_from_epoch": [(train.mixup_alpha == train.cutmix_alpha == 0, "neither mixup_alpha nor cutmix_alpha")],
        "ema_from_epoch": [(train.ema_decay is None, no_decay)],
        "ema_bias_correction": [(train.ema_decay is None, no_decay)],
        "min_delta": [(train.patience is None, "no train.patience")],
        "log_details": [(not train.loggers, "no train.loggers")],
        "shard": [(os.environ.get("WORLD_SIZE", "1") == "1", "one process; torchrun starts several")],
    }
    return [
        f"train.{key} has no effect with {why}."
        for key, reasons in idle.items()
        for why in [why for is_idle, why in reasons if is_idle][:1]
        if getattr(train, key) != TrainRecipe.model_fields[key].default
    ] + _schedule_without_effect(train)


def _schedule_without_effect(train: TrainRecipe) -> list[str]:
    """What the length of the run makes of schedule and patience."""
    told = []
    if train.schedule == "warm_restarts" and train.restart_epochs >= train.epochs - train.warmup_epochs:
        told.append(
            f"train.schedule warm_restarts never restarts: train.restart_epochs {train.restart_epochs} are not over "
            f"before train.epochs {train.epochs}."
        )
    if train.schedule == "plateau" and train.patience is not None and train.patience <= train.plateau_patience + 1:
        told.append(
            f"train.schedule plateau never lowers the rate: train.patience {train.patience} stops the run before an "
            f"epoch has a lower one; with train.plateau_patience {train.plateau_patience} that takes at least "
            f"{train.plateau_patience + 2}."
        )
    return told


def multi_label_problems(recipe: Recipe) -> dict[KeyPath, str]:
    """What a recipe must not say where an image can have several classes or none: a sentence by key path."""
    train, labels, losses = recipe.train, recipe.labels, _losses_per_logit()
    of_one_label = ("accuracy", "weighted_", "micro_", "top_", "kappa_")
    selects = [name for name in directions() if not name.startswith(of_one_label)]
    wrong: dict[KeyPath, tuple[bool, str]] = {
        ("train", "loss"): (
            train.loss not in losses,
            f"train.loss must be {' or '.join(losses)}, a question a class. Got {train.loss}. "
            "Add --set train.loss=bce.",
        ),
        ("train", "select_by"): (
            train.select_by not in selects and train.overfit_images is None,
            f"train.select_by must be one of {', '.join(selects)} (means over the classes). Got {train.select_by}. "
            "Add --set train.select_by=auroc.",
        ),
        ("train", "class_weights"): (
            train.class_weights not in ("none", "balanced"),
            f"train.class_weights must be none or balanced (absent over present images, a class). Got "
            f"{train.class_weights}. Add --set train.class_weights=balanced.",
        ),
        ("train", "sampler"): (
            train.sampler != "none",
            f"train.sampler must be none: no draw of images balances several classes at once. Got {train.sampler}. "
            "Add --set train.sampler=none, and train.class_weights=balanced for rare classes.",
        ),
        ("labels", "positive"): (
            labels.positive is not None,
            f"labels.positive belongs to two classes that exclude each other. Got {labels.positive!r}. "
            "Add --set labels.positive=null.",
        ),
        ("labels", "ordinal"): (
            labels.ordinal,
            "labels.ordinal belongs to classes of which an image has one. Got true. Add --set labels.ordinal=false.",
        ),
        ("labels", "one_logit"): (
            labels.one_logit,
            "labels.one_logit belongs to two classes that exclude each other. Got true. "
            "Add --set labels.one_logit=false.",
        ),
    }
    return {path: sentence for path, (is_wrong, sentence) in wrong.items() if is_wrong}


def single_label_problems(recipe: Recipe) -> dict[KeyPath, str]:
    """What a recipe must not say where every image has exactly one class: a sentence by key path."""
    chosen, one_logit = recipe.train.loss, recipe.labels.one_logit
    per_logit = _losses_per_logit()
    if (chosen in per_logit) == one_logit:
        return {}
    if one_logit:
        sentence = (
            f"train.loss must be {' or '.join(per_logit)} with labels.one_logit, a question a logit. Got {chosen}. "
            "Add --set train.loss=bce, or leave labels.one_logit out."
        )
    else:
        others = [name for name in leaf_names(_LOSSES) if name not in per_logit]
        sentence = (
            f"train.loss must be {' or '.join(others)} where every image has one class and every class a logit. "
            f"Got {chosen}. Add --set train.loss=cross_entropy, or of two classes --set labels.one_logit=true."
        )
    return {("train", "loss"): sentence}


def _losses_per_logit() -> list[str]:
    """The losses that ask a question a logit: of several labels an image, or of one logit for two classes."""
    return [name for name in leaf_names(_LOSSES) if leaf_literal(_LOSSES, name, "SEVERAL_LABELS")]


def _rules(recipe: Recipe) -> dict[KeyPath, str]:
    """Everything that only the model, its head, the loss or the kind of labels makes wrong."""
    labels: dict[KeyPath, str] = {}
    if recipe.data.labels == "multi":
        labels = multi_label_problems(recipe)
    elif recipe.data.labels == "single" or recipe.labels.one_logit:  # else the data decide, see `label_space`
        labels = single_label_problems(recipe)
    return (
        _mask_problems(recipe)
        | _problems_of_masks_in_training(recipe)
        | _unknown_to_the_head(recipe)
        | _unknown_to_the_optimizer(recipe.train)
        | _ignored_by_the_loss(recipe)
        | labels
    )


def _unknown_to_the_head(recipe: Recipe) -> dict[KeyPath, str]:
    """Arguments that the chosen head does not take."""
    head = recipe.model.head
    taken = () if head is None else leaf_literal(_HEADS, head, "OPTIONS") or ()
    return {
        ("model", "head_args", key): (
            f"model.head_args of {head} must be among {', '.join(taken)}. Got {key!r}. {did_you_mean(key, taken)}"
        ).rstrip()
        for key in recipe.model.head_args
        if key not in taken
    }


def _unknown_to_the_optimizer(train: TrainRecipe) -> dict[KeyPath, str]:
    """Arguments that the optimizer does not take, or that have a key of their own."""
    taken = [name for name in optimizer_arguments().get(train.optimizer, ()) if name != "momentum"]
    problems: dict[KeyPath, str] = {}
    for key in train.optimizer_args:
        if key not in taken:
            what_next = did_you_mean(key, taken)
            if key in ("lr", "momentum", "weight_decay"):
                what_next = f"Set train.{key}."
            problems["train", "optimizer_args", key] = (
                f"train.optimizer_args of {train.optimizer} must be among {', '.join(taken)}. Got {key!r}. {what_next}"
            ).rstrip()
    return problems


def _mask_problems(recipe: Recipe) -> dict[KeyPath, str]:
    """A model without the mask that it needs, or a mask that it does not take; one off the index is told when built."""
    name, mask = recipe.model.name, recipe.input.mask
    needed = needs_mask(name)
    if needed and mask == "none":
        return {("input", "mask"): f"{name} takes an image and its mask. Got input.mask none. Set input.mask: lung."}
    if needed is False and mask != "none":
        return {("input", "mask"): f"{name} takes an image alone. Got input.mask {mask}. Leave it out."}
    return {}


def _problems_of_masks_in_training(recipe: Recipe) -> dict[KeyPath, str]:
    """Images that are mixed although their masks cannot be, and losses on a mask that there is not."""
    name, takes_mask = recipe.model.name, needs_mask(recipe.model.name)
    if takes_mask is None:
        takes_mask = recipe.input.mask != "none"
    keys, why = ("segmentation_weight", "attention_weight"), "takes no mask to compare with"
    if takes_mask:
        keys, why = ("mixup_alpha", "cutmix_alpha"), "takes a mask, and two images have two"
    values = {key: getattr(recipe.train, key) for key in keys}
    return {
        ("train", key): f"train.{key} must be 0 with {name}, which {why}. Got {value:g}. Leave it out."
        for key, value in values.items()
        if value > 0
    }


def _ignored_by_the_loss(recipe: Recipe) -> dict[KeyPath, str]:
    """Keys of other losses that the chosen one does not take, where they were changed."""
    taken = {name: set(leaf_literal(_LOSSES, name, "OPTIONS") or ()) for name in leaf_names(_LOSSES)}
    chosen, problems = recipe.train.loss, {}
    for key in sorted(set().union(*taken.values()) - taken[chosen]):
        value, default = getattr(recipe.train, key), TrainRecipe.model_fields[key].default
        if value != default:
            fitting = " or ".join(name for name, keys in taken.items() if key in keys)
            path: KeyPath = ("train", key)
            problems[path] = (
                f"train.{key} must be {default} with train.loss {chosen}, which does not use it. Got {value}. "
                f"Leave it out, or use train.loss {fitting}."
            )
    return problems


class _ModelNames(Collection[str]):
    """Names of the index, families of outside packages, and what another timm than the index's may have."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if is_known_model(name) or version("timm") == indexed_timm_version():
            return is_known_model(name)
        import timm  # seconds, but the index cannot know what this release has

        return timm.is_model(name.partition(".")[0])

    def __iter__(self) -> Iterator[str]:
        return iter(known_model_names())

    def __len__(self) -> int:
        return len(known_model_names())
