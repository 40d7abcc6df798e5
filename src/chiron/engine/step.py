"""One step of the optimizer: the batch through the network in parts, gradients, clipping, new weights."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from chiron.engine.memory import in_parts_that_fit, unchanged_statistics
from chiron.engine.mixing import cut_in_pairs, draw_mix
from chiron.engine.optimizers import set_learning_rate, set_momentum
from chiron.engine.runtime import seed_step
from chiron.engine.schedules import cycled_momentum, learning_rate
from chiron.engine.setup import Setup
from chiron.engine.sharding import whole_tensor
from chiron.engine.step_results import StepResult


def take_step(setup: Setup, pixels: Tensor, index: Tensor) -> StepResult:
    """One step of the optimizer on one batch, of which this process has the images `index`."""
    state, progress, train, world = setup.state, setup.state.progress, setup.recipe.train, setup.runtime.world
    whole = setup.batches.index_of(progress.step_in_epoch)
    set_learning_rate(state.optimizer, rate_now(setup))
    momentum = cycled_momentum(train, **_place(setup))
    if momentum is not None:
        set_momentum(state.optimizer, momentum)
    sums = in_parts_that_fit(
        lambda: _gradients(setup, pixels, index, whole),
        state.model,
        progress,
        count=len(index),
        alone=world.size == 1,
    )
    state.scaler.unscale_(state.optimizer)
    norm = None
    if train.clip_grad is not None:
        norm = whole_tensor(nn.utils.clip_grad_norm_(state.model.parameters(), train.clip_grad))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    setup.lap("optimizer")
    step = progress.epoch * setup.batches.num_batches + progress.step_in_epoch
    sums = world.sum(sums)
    return StepResult(sums[:-1], sums[-1], norm, len(whole), step)


def rate_now(setup: Setup) -> float:
    """The learning rate where the run stands; after the last step of an epoch still that of the step."""
    return learning_rate(setup.recipe.train, **_place(setup), rate_factor=setup.state.progress.rate_factor)


def _place(setup: Setup) -> dict[str, int]:
    progress, num_batches = setup.state.progress, setup.batches.num_batches
    step = min(progress.step_in_epoch, num_batches - 1)
    return {"epoch": progress.epoch, "step_in_epoch": step, "num_batches": num_batches}


def _gradients(setup: Setup, pixels: Tensor, index: Tensor, whole: Tensor) -> Tensor:
    """What this process adds to the losses of the batch `whole`: all together, the auxiliary ones alone, and how many
    of its images are called right; NaN where images are mixed.

    Its gradients are in the model then. Its images go through the network in parts; each adds its share of the gradient
    of the whole batch's mean.
    """
    state, progress, train, world = setup.state, setup.state.progress, setup.recipe.train, setup.runtime.world
    device, divisor = setup.runtime.device, setup.criterion.divisor(whole)
    counts = setup.own_part(len(whole)) is not None  # else only to exchange gradients with the others
    seed_step(train.seed, progress.epoch, progress.step_in_epoch, world.rank)
    mix = draw_mix(train, epoch=progress.epoch, step=progress.step_in_epoch)
    state.model.zero_grad(set_to_none=True)  # of all parameters, also those that no optimizer has
    totals = torch.zeros(2 + len(setup.auxiliary.kinds), device=device)
    setup.lap("optimizer")
    here = index.to(device, non_blocking=True)
    for part in world.each_part(setup.stepped, cut_in_pairs(len(index), setup.num_parts(len(whole)))):
        images, *rest = setup.finish(pixels[part].to(device, non_blocking=True))
        images, own_share = (images, 1.0) if mix is None else mix.apply(images)
        setup.lap("copy")
        share = counts * setup.criterion.divisor(index[part]) / divisor if divisor else 0.0  # nothing is assessed
        with setup.runtime.step_arithmetic():
            with setup.mode.autocast(device):
                output = setup.stepped(setup.mode.lay_out(images), *rest)
            logits, beside = setup.auxiliary.measure(output, *rest)
            beside = beside * (counts * len(images) / len(whole))
            loss = setup.criterion.loss(logits, here[part], own_share=own_share) * share
            loss = loss + setup.auxiliary.weighted(beside)
            setup.lap("forward")
            with unchanged_statistics(state.model) if train.grad_checkpointing else nullcontext():
                # several processes take the mean of their gradients
                state.scaler.scale(loss * world.size).backward()
        right = setup.criterion.num_right(logits.detach(), here[part]) * (counts if mix is None else torch.nan)
        totals += torch.cat([loss[None], beside, right[None]]).detach()
        setup.lap("backward")
    return totals
