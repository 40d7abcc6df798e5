"""The `train` part of a recipe: the optimization, key by key, with defaults and meanings."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from chiron.spec.frozen import Frozen

AUTO_BATCH = 0  # how `batch_size: auto` is kept until it is resolved


def _auto_is_zero(value: Any) -> Any:
    return AUTO_BATCH if value == "auto" else value


class FreezeRecipe(Frozen):
    """Stages of the network that do not learn, for a while or to the end; their BatchNorm statistics stand still."""

    stages: tuple[str, ...] = Field(
        min_length=1, description="stages of the network, as `chiron models stages NAME` lists them"
    )
    epochs: int | None = Field(default=None, ge=1, description="frozen for so many epochs; by default to the end")
    lr_scale: float = Field(
        default=1.0, gt=0, le=1, description="what they learn with afterwards, as a share of the learning rate"
    )

    @model_validator(mode="after")
    def _scale_of_something(self) -> Self:
        if self.epochs is None and self.lr_scale != 1.0:
            raise ValueError("lr_scale is the rate after unfreezing; give epochs as well")
        return self


class TrainRecipe(Frozen):
    """The optimization."""

    epochs: int = Field(ge=1, description="passes over the train split, at most")
    batch_size: Annotated[int, BeforeValidator(_auto_is_zero)] = Field(
        default=32,
        ge=0,
        description="images of one step, over all processes; auto: the largest power of two up to 256 that fits in "
        "memory, which the run's own recipe then names",
    )
    grad_accum_steps: Literal["auto"] | int = Field(
        default=1,
        description="a step's images go through the network in so many parts, which changes nothing but the statistics "
        "that BatchNorm takes of a part; auto: as few as fit in memory",
    )
    drop_last: bool = Field(
        default=False, description="leave out what fills no whole batch; else batches differ by at most one image"
    )
    optimizer: str = Field(default="adamw", description="adamw, adam, sgd, or the name of an optimizer of timm")
    optimizer_args: dict[str, Any] = Field(default_factory=dict, description="its further arguments, e.g. betas")
    lr: float = Field(gt=0, description="highest learning rate")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd, and of those of timm that have one")
    weight_decay: float = Field(default=0.01, ge=0, description="how much weights are drawn toward 0")
    weight_decay_on: Literal["all", "weights"] = Field(
        default="all", description="weights: neither on norms and biases nor on what the network excepts"
    )
    layer_decay: float | None = Field(
        default=None, gt=0, le=1, description="the rate of each layer as a share of that of the next deeper one"
    )
    schedule: Literal["cosine", "warm_restarts", "plateau", "one_cycle", "constant"] = Field(
        default="cosine", description="what the rate does after the warm-up"
    )
    schedule_per: Literal["step", "epoch"] = Field(
        default="step", description="how often the rate changes; epoch: all of an epoch has one rate, warm-up included"
    )
    warmup_epochs: float = Field(default=0.0, ge=0, description="linear from warmup_lr to lr; not of one_cycle")
    warmup_lr: float = Field(default=0.0, ge=0, description="where the warm-up starts")
    min_lr: float = Field(default=0.0, ge=0, description="where each cosine ends, below which plateau does not go")
    restart_epochs: int = Field(default=10, ge=1, description="of warm_restarts: length of the first cosine")
    restart_mult: int = Field(default=1, ge=1, description="of warm_restarts: each is so many times the one before")
    plateau_factor: float = Field(default=0.1, gt=0, lt=1, description="of plateau: what the rate is multiplied by")
    plateau_patience: int = Field(
        default=10, ge=0, description="of plateau: epochs without a better select_by that are still waited for"
    )
    clip_grad: float | None = Field(default=None, gt=0, description="largest norm of the gradient")
    freeze: tuple[FreezeRecipe, ...] = Field(default=(), description="stages that do not learn")
    loss: str = Field(default="cross_entropy", description="a file of engine/losses")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target given to other classes")
    label_smoothing_over: Literal["all", "others"] = Field(
        default="all", description="all: share / C to every class (torch); others: share / (C - 1) to the wrong ones"
    )
    focal_gamma: float = Field(default=2.0, ge=0, description="of loss focal; 0 is cross-entropy")
    asymmetric_gamma_pos: float = Field(default=0.0, ge=0, description="of loss asymmetric: focusing of present labels")
    asymmetric_gamma_neg: float = Field(default=4.0, ge=0, description="of loss asymmetric: focusing of absent labels")
    asymmetric_shift: float = Field(
        default=0.05, ge=0, lt=1, description="of loss asymmetric: absent labels less probable than this count nothing"
    )
    class_weights: Literal["none", "balanced", "balanced_mean_one", "inverse_frequency"] = Field(
        default="none",
        description="on the training split; balanced: N / (C * n_c); balanced_mean_one: rescaled to a mean of 1 over "
        "the classes; inverse_frequency: N / n_c",
    )
    class_weight_cap: float | None = Field(default=None, gt=0, description="no class weight is larger")
    sampler: Literal["none", "balanced"] = Field(
        default="none", description="balanced: every class is drawn equally often, with replacement"
    )
    mixup_alpha: float = Field(default=0.0, ge=0, description="Mixup with Beta(alpha, alpha); 0: none")
    cutmix_alpha: float = Field(
        default=0.0, ge=0, description="CutMix with Beta(alpha, alpha); with Mixup too, each step draws one of the two"
    )
    mix_from_epoch: int = Field(default=0, ge=0, description="Mixup and CutMix begin after so many epochs")
    segmentation_weight: float = Field(
        default=0.0, ge=0, description="of (Dice + BCE) / 2 between the network's own mask and the input's, in the loss"
    )
    attention_weight: float = Field(
        default=0.0, ge=0, description="of the divergence of the network's attention from the mask, in the loss"
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="average of the weights over steps (norms keep the newest statistics); tested and saved instead",
    )
    ema_from_epoch: int = Field(default=0, ge=0, description="the average begins after so many epochs")
    ema_bias_correction: bool = Field(
        default=True, description="false: the average starts from the untrained weights and keeps a share of them"
    )
    select_by: str = Field(
        default="auroc",
        description="the val metric that chooses the epoch: loss, or any of the report's with one number, such as "
        "balanced_accuracy, macro_f1, average_precision, brier; of one class: the positive one, else the mean",
    )
    patience: int | None = Field(default=None, ge=1, description="stop after so many epochs without a better one")
    min_delta: float = Field(default=0.0, ge=0, description="for patience, better means better by more than this")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="of training steps; kept numbers are fp32. auto: the fastest of a few seconds of measurement, "
        "fp32 where the training is too short to be worth it",
    )
    channels_last: bool | None = Field(
        default=None, description="memory layout of images; by default measured with precision auto, else false"
    )
    compile: bool | None = Field(
        default=None, description="torch.compile; by default measured with precision auto, else false"
    )
    deterministic: bool = Field(default=True, description="false: on a GPU faster, and two runs may differ")
    grad_checkpointing: bool = Field(default=False, description="less memory for a second forward pass")
    shard: bool = Field(default=False, description="with several processes, each keeps a part of the weights only")
    num_workers: int | Literal["auto"] = Field(default="auto", description="processes that decode images")
    overfit_images: int | None = Field(
        default=None, ge=2, description="a check that the network can learn: so many images as train and val"
    )
    sanity_steps: int | None = Field(
        default=None, ge=1, description="a check that everything runs: one epoch of so many steps, to the report"
    )
    checkpoint_minutes: float = Field(default=5.0, gt=0, description="a checkpoint at least so often, and every epoch")
    checkpoint_steps: int | None = Field(default=None, ge=1, description="and after every so many steps")
    keep_every_epochs: int | None = Field(
        default=None, ge=1, description="checkpoints of every so many epochs are never removed"
    )
    loggers: tuple[str, ...] = Field(default=(), description="files of engine/loggers, e.g. tensorboard")
    log_details: bool = Field(
        default=False, description="loggers get gradients, feature maps and input images too, once an epoch"
    )
    seed: int = Field(default=0, description="of first weights, order, augmentation, dropout and mixing")

    @field_validator("class_weight_cap")
    @classmethod
    def _cap_caps_something(cls, cap: float | None, info: ValidationInfo) -> float | None:
        if cap is not None and info.data.get("class_weights") == "none":
            raise ValueError(f"needs class_weights to cap, not {cap:g} alone; for example class_weights: balanced")
        return cap

    @field_validator("ema_from_epoch", "mix_from_epoch")
    @classmethod
    def _begins_in_time(cls, start: int, info: ValidationInfo) -> int:
        if start >= info.data.get("epochs", start + 1):
            raise ValueError(f"must be smaller than epochs ({info.data['epochs']}), not {start}")
        return start

    @field_validator("grad_accum_steps")
    @classmethod
    def _parts_hold_images(cls, parts: int | str, info: ValidationInfo) -> int | str:
        batch_size = info.data.get("batch_size", AUTO_BATCH)
        if isinstance(parts, int) and (parts < 1 or (batch_size != AUTO_BATCH and parts > max(1, batch_size // 2))):
            raise ValueError(f"must leave every part two of batch_size ({batch_size}) images, not {parts}")
        return parts

    @model_validator(mode="after")
    def _can_be_sharded(self) -> Self:
        if not self.shard:
            return self
        if self.optimizer not in ("adamw", "adam", "sgd"):
            raise ValueError(
                f"shard needs optimizer adamw, adam or sgd, not {self.optimizer}: others look at whole layers"
            )
        if self.precision == "fp16":
            raise ValueError("shard needs precision fp32 or bf16, not fp16: its scaler sees one process's part alone")
        if self.channels_last:
            raise ValueError("shard needs channels_last false: parts of weights are put together in torch's own layout")
        if any(part.epochs is not None for part in self.freeze):
            raise ValueError("shard needs stages that are frozen to the end; leave freeze.epochs out")
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs:g}) must be smaller than epochs ({self.epochs}); "
                "for example --set train.warmup_epochs=0"
            )
        if self.sanity_steps is not None and self.overfit_images is not None:
            raise ValueError("overfit_images and sanity_steps are two checks; leave one of them out")
        if isinstance(self.num_workers, int) and self.num_workers < 0:
            raise ValueError("num_workers must be 0 or more, or auto")
        return self
