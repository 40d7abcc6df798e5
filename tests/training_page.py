"""The reference page of the `train` part of a recipe, made of its schema: every key with default and meaning.

`python tests/training_page.py` writes the page anew; `tests/docs/test_training_page.py` holds it to the schema.
"""

from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from chiron.core.files import write_text
from chiron.spec.train_recipe import FreezeRecipe, TrainRecipe

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "training.md"

INTRODUCTION = """\
# Keys of `train`

All keys of a recipe's `train` part. `--set train.KEY=VALUE` changes one on the command line; `chiron check` tells what is
wrong and what has no effect. What to choose: [train well](../how-to/train-well.md). The last column says what a key is equal
to elsewhere; where it is not quite equal, how it differs. Epochs and steps are counted from 0 in formulas, from 1 in what is
printed.
"""

GROUPS: dict[str, str] = {
    "Length and batches": "epochs batch_size grad_accum_steps drop_last sampler",
    "Optimizer": "optimizer optimizer_args lr momentum weight_decay weight_decay_on layer_decay clip_grad",
    "Learning rate": "schedule schedule_per warmup_epochs warmup_lr min_lr restart_epochs restart_mult plateau_factor "
    "plateau_patience",
    "Freezing": "freeze",
    "Loss": "loss label_smoothing label_smoothing_over focal_gamma asymmetric_gamma_pos asymmetric_gamma_neg "
    "asymmetric_shift class_weights class_weight_cap segmentation_weight attention_weight",
    "Mixed images": "mixup_alpha cutmix_alpha mix_from_epoch",
    "Average of the weights": "ema_decay ema_from_epoch ema_bias_correction",
    "Selection and stopping": "select_by patience min_delta",
    "Speed and memory": "precision channels_last compile deterministic grad_checkpointing shard num_workers",
    "Checks, checkpoints, loggers": "overfit_images sanity_steps checkpoint_minutes checkpoint_steps "
    "keep_every_epochs loggers log_details",
    "Randomness": "seed",
}

EQUAL: dict[str, str] = {
    "batch_size": "the batch of one step whatever the number of processes; torch's and timm's is that of one process",
    "grad_accum_steps": "a part of the same batch, so that the step does not change; timm's `--grad-accum-steps` "
    "multiplies the batch. BatchNorm sees parts",
    "drop_last": "`torch.utils.data.DataLoader(drop_last=True)`",
    "sampler": "`torch.utils.data.WeightedRandomSampler` with weights 1 / n_c and N draws",
    "optimizer": "`torch.optim.AdamW`, `torch.optim.Adam` (decay as an L2 penalty), `torch.optim.SGD`; else "
    "`timm.optim.create_optimizer_v2`",
    "momentum": "`torch.optim.SGD(momentum=...)`, not Nesterov's",
    "weight_decay": "torch's `weight_decay` of the same optimizer",
    "weight_decay_on": "weights: `timm.optim.param_groups_weight_decay`",
    "layer_decay": "`timm.optim.param_groups_layer_decay`",
    "clip_grad": "`torch.nn.utils.clip_grad_norm_` on the gradient of the whole batch",
    "schedule": "cosine: `torch.optim.lr_scheduler.CosineAnnealingLR`; warm_restarts: "
    "`torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; plateau: `torch.optim.lr_scheduler.ReduceLROnPlateau`; "
    "one_cycle: `torch.optim.lr_scheduler.OneCycleLR`; each counted from the end of the warm-up",
    "schedule_per": "whether torch's `scheduler.step()` stands in the loop of steps or of epochs",
    "warmup_epochs": "`torch.optim.lr_scheduler.LinearLR`; timm's `--warmup-epochs` with `--warmup-prefix`",
    "warmup_lr": "timm's `--warmup-lr`",
    "min_lr": "torch's `eta_min` of cosines, `min_lr` of a plateau",
    "restart_epochs": "torch's `T_0`",
    "restart_mult": "torch's `T_mult`",
    "plateau_factor": "torch's `factor`",
    "plateau_patience": "torch's `patience`, with its relative threshold of 1e-4",
    "freeze": "`requires_grad_(False)`, and `eval()` of the BatchNorm layers inside",
    "loss": "cross_entropy: `torch.nn.functional.cross_entropy`; bce: "
    "`torch.nn.functional.binary_cross_entropy_with_logits`; focal: Lin et al. 2017; asymmetric: Ridnik et al. 2021",
    "label_smoothing": "`torch.nn.CrossEntropyLoss(label_smoothing=...)`",
    "focal_gamma": "gamma of Lin et al. 2017; alpha is class_weights",
    "class_weights": 'balanced: `sklearn.utils.class_weight.compute_class_weight`("balanced", ...)',
    "mixup_alpha": "`timm.data.Mixup(mixup_alpha=..., mode='batch')`, with neighbors as partners",
    "cutmix_alpha": "`timm.data.Mixup(cutmix_alpha=..., mode='batch')`, with neighbors as partners",
    "ema_decay": "`torch.optim.swa_utils.get_ema_multi_avg_fn`",
    "ema_bias_correction": "the correction of Adam; false is what timm's ModelEmaV3 does without its warm-up",
    "precision": "`torch.autocast`; of fp16 with `torch.amp.GradScaler`",
    "channels_last": "`torch.channels_last`",
    "compile": "`torch.compile`",
    "deterministic": "true: `torch.use_deterministic_algorithms`; false: `torch.backends.cudnn.benchmark`",
    "grad_checkpointing": "timm's `set_grad_checkpointing`",
    "num_workers": "`torch.utils.data.DataLoader(num_workers=...)`",
}

FREEZING = """\
`train.freeze` is a list; each entry has these keys. `chiron models stages NAME` lists the stages of a network.
"""


def page() -> str:
    """The reference page: a table a group, a row a key."""
    parts = [INTRODUCTION]
    for title, keys in GROUPS.items():
        parts.append(f"\n## {title}\n\n{_table(TrainRecipe, keys.split())}")
        if title == "Freezing":
            parts.append(f"\n{FREEZING}\n{_table(FreezeRecipe, list(FreezeRecipe.model_fields))}")
    return "".join(parts)


def _table(model: type[BaseModel], keys: list[str]) -> str:
    rows = ["| key | values | default | meaning | equal to |", "|---|---|---|---|---|"]
    for key in keys:
        field = model.model_fields[key]
        equal = EQUAL.get(key, "") if model is TrainRecipe else ""
        rows.append(f"| `{key}` | {_values(field)} | {_default(field)} | {field.description or ''} | {equal} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    """What may be written, with its bounds."""
    bounds = {"Ge": "at least", "Gt": "above", "Le": "at most", "Lt": "below"}
    if any(isinstance(rule, BeforeValidator) for rule in field.metadata):  # auto is kept as a number
        return f"`auto` or {_type(field.annotation)}"
    limits = [
        f"{bounds[name]} {getattr(limit, name.lower()):g}"
        for limit in field.metadata
        if (name := type(limit).__name__) in bounds
    ]
    return " ".join([_type(field.annotation), ", ".join(limits)]).strip()


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return "list"
    if origin is dict:
        return "names and values"
    if inner and (origin is Union or type(annotation).__name__ in ("UnionType", "Union")):
        return " or ".join(_type(each) for each in inner if each is not type(None))
    return {int: "whole number", float: "number", bool: "`true`, `false`", str: "name"}[annotation]


if __name__ == "__main__":
    write_text(PAGE, page())
