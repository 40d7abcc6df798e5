"""Mixup and CutMix against loops over images and pixels; the same mix whatever cuts the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.engine.criterion import make_criterion
from chiron.engine.mixing import Mix, cut_in_pairs, draw_mix, partners
from chiron.spec.labels import LabelSpace
from chiron.spec.train_recipe import TrainRecipe
from chiron.workflows.check import check_recipe, recipe_warnings

CPU = torch.device("cpu")
THREE = LabelSpace(names=("a", "b", "c"))
CHANCE = 0.001  # below it no p-value of a dozen comparisons is luck


def recipe(**values) -> TrainRecipe:
    return TrainRecipe(**{"epochs": 10, "lr": 1e-3, **values})


def partner(place: int, count: int) -> int:
    """The neighbor in a pair; the last of an odd number is alone."""
    other = place + 1 if place % 2 == 0 else place - 1
    return other if other < count else place


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_partners_are_neighbors_and_an_odd_one_is_its_own(count):
    assert partners(count).tolist() == [partner(place, count) for place in range(count)]


@pytest.mark.parametrize("count", [6, 7])
def test_mixup_equals_a_loop_over_images(random, count):
    images = torch.from_numpy(random.normal(size=(count, 3, 4, 5)).astype(np.float32))
    mixed, share = Mix(0.3).apply(images)
    assert share == 0.3
    for i in range(count):
        expected = 0.3 * images[i] + 0.7 * images[partner(i, count)]
        torch.testing.assert_close(mixed[i], expected)


@pytest.mark.parametrize("count", [6, 7])
@pytest.mark.parametrize(
    ("own_share", "center", "rows", "columns"),
    [
        (0.75, (0.5, 0.5), (5, 15), (6, 18)),  # half of each side, around the middle
        (0.75, (0.0, 0.9), (0, 5), (15, 24)),  # cut off at the top and at the right
        (0.0, (0.5, 0.5), (0, 20), (0, 24)),  # all of it
        (1.0, (0.5, 0.5), (0, 0), (0, 0)),  # nothing
        (0.6, (0.25, 0.5), (0, 11), (5, 19)),  # 20 sqrt(0.4) = 12.6: 6 pixels each way of row 5; 24 sqrt(0.4): 7 of 12
    ],
)
def test_cutmix_equals_a_loop_over_pixels_and_counts_them(count, own_share, center, rows, columns):
    images = torch.arange(count).float()[:, None, None, None].expand(count, 2, 20, 24)  # each its own number
    mixed, share = Mix(own_share, box=center).apply(images)
    for i in range(count):
        for row in range(20):
            for column in range(24):
                inside = rows[0] <= row < rows[1] and columns[0] <= column < columns[1]
                assert (mixed[i, :, row, column] == (partner(i, count) if inside else i)).all()
    assert share == pytest.approx((mixed[0] == 0).float().mean().item())
    assert images[1].eq(1).all()  # the images themselves stay


@given(
    count=st.integers(1, 41),
    world=st.sampled_from([1, 2]),
    parts=st.integers(1, 9),
    box=st.sampled_from([None, (0.3, 0.8)]),
)
def test_the_mix_is_the_same_whatever_cuts_the_batch(count, world, parts, box):
    """Into processes and, in each, into parts: every image once, beside the same partner."""
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mix = Mix(0.4, box=box)
    whole, whole_share = mix.apply(images)
    pieces = []
    for process in cut_in_pairs(count, world):
        own = images[process]
        for part in cut_in_pairs(len(own), parts):
            mixed, share = mix.apply(own[part])
            assert share == whole_share
            pieces.append(mixed)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=0)
    assert len(cut_in_pairs(count, parts)) == min(parts, max(1, count // 2))
    sizes = [piece.stop - piece.start for piece in cut_in_pairs(count, parts)]
    assert max(sizes) - min(sizes) <= 3  # a pair, and the odd one


def drawn(train: TrainRecipe, steps: int = 2000) -> list[Mix]:
    mixes = [draw_mix(train, epoch=3, step=step) for step in range(steps)]
    assert all(mix is not None for mix in mixes)
    return mixes


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_lambda_has_the_papers_distribution(kind, alpha):
    mixes = drawn(recipe(**{f"{kind}_alpha": alpha}))
    assert stats.kstest([mix.own_share for mix in mixes], stats.beta(alpha, alpha).cdf).pvalue > CHANCE
    if kind == "mixup":
        assert all(mix.box is None for mix in mixes)
    else:
        for side in zip(*(mix.box for mix in mixes), strict=True):
            assert stats.kstest(side, stats.uniform.cdf).pvalue > CHANCE


def test_with_both_each_step_draws_one_and_each_has_its_own_alpha():
    mixes = drawn(recipe(mixup_alpha=0.2, cutmix_alpha=5.0))
    cut = [mix.own_share for mix in mixes if mix.box is not None]
    blended = [mix.own_share for mix in mixes if mix.box is None]
    assert abs(len(cut) - 1000) < 3 * np.sqrt(2000 / 4)
    assert stats.kstest(cut, stats.beta(5, 5).cdf).pvalue > CHANCE
    assert stats.kstest(blended, stats.beta(0.2, 0.2).cdf).pvalue > CHANCE


def test_a_mix_is_a_function_of_seed_epoch_and_step():
    train = recipe(mixup_alpha=0.4, cutmix_alpha=1.0)
    first = draw_mix(train, epoch=1, step=2)
    assert draw_mix(train, epoch=1, step=2) == first
    for other in (
        draw_mix(train, epoch=1, step=3),
        draw_mix(train, epoch=2, step=2),
        draw_mix(recipe(mixup_alpha=0.4, cutmix_alpha=1.0, seed=1), epoch=1, step=2),
    ):
        assert other != first


def test_nothing_is_mixed_before_its_epoch_or_without_alpha():
    train = recipe(mixup_alpha=0.4, mix_from_epoch=5)
    assert [draw_mix(train, epoch=epoch, step=0) is not None for epoch in range(8)] == [False] * 5 + [True] * 3
    assert draw_mix(recipe(), epoch=9, step=0) is None


@pytest.mark.parametrize("count", [8, 7])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_mixed_loss_equals_a_loop_over_images(random, count, weights):
    """own_share times the weighted mean for the images' classes, the rest times that for their partners'."""
    y_train = np.repeat(np.arange(3), (4, 10, 26))
    criterion = make_criterion(recipe(class_weights=weights), y_train, THREE, CPU)
    index = torch.from_numpy(random.permutation(40)[:count])
    logits = torch.from_numpy(random.normal(size=(count, 3)).astype(np.float32))
    own, other, divisor = 0.0, 0.0, 0.0
    for i in range(count):
        logs = logits[i].log_softmax(dim=0)
        a, b = (int(y_train[index[place]]) for place in (i, partner(i, count)))
        weight = {"none": np.ones(3), "balanced": 40 / (3 * np.array([4, 10, 26]))}[weights]
        own, other, divisor = own - weight[a] * logs[a], other - weight[b] * logs[b], divisor + weight[a]
    expected = 0.3 * own / divisor + 0.7 * other / divisor
    torch.testing.assert_close(criterion.loss(logits, index, own_share=0.3), expected.float())
    if weights == "none":  # as a target with two classes
        places = partners(count)
        one_hot = functional.one_hot(torch.from_numpy(y_train)[index], 3).float()
        soft = functional.cross_entropy(logits, 0.3 * one_hot + 0.7 * one_hot[places])
        torch.testing.assert_close(criterion.loss(logits, index, own_share=0.3), soft)


def test_the_mixed_loss_of_several_labels_leaves_out_what_was_not_assessed(random):
    labels = LabelSpace(kind="multi_label", names=("a", "b"))
    y_train = np.array([[1, 0], [np.nan, 1], [0, np.nan], [1, 1]])
    criterion = make_criterion(recipe(loss="bce"), y_train, labels, CPU)
    logits = torch.from_numpy(random.normal(size=(4, 2)).astype(np.float32))

    def mean(targets):
        known = ~targets.isnan()
        return functional.binary_cross_entropy_with_logits(logits[known], targets[known])

    targets = torch.from_numpy(y_train).float()
    expected = 0.25 * mean(targets) + 0.75 * mean(targets[[1, 0, 3, 2]])
    torch.testing.assert_close(criterion.loss(logits, torch.arange(4), own_share=0.25), expected)


@pytest.mark.parametrize("key", ["mixup_alpha", "cutmix_alpha"])
def test_images_with_masks_are_not_mixed(tiny_recipe, key):
    changes = ("model.name=chiron_hybrid_lung_vit_nano", "input.mask=lung", f"train.{key}=0.4")
    message = rf"train\.{key} must be 0 with chiron_hybrid_lung_vit_nano, which takes a mask, and two images have two"
    with pytest.raises(SpecError, match=message):
        check_recipe(str(tiny_recipe), changes)
    check_recipe(str(tiny_recipe), changes[:2])


def test_a_start_without_mixing_is_told(tiny_recipe):
    told = recipe_warnings(check_recipe(str(tiny_recipe), ("train.mix_from_epoch=1",)))
    assert told == ["train.mix_from_epoch has no effect with neither mixup_alpha nor cutmix_alpha."]
    assert not recipe_warnings(check_recipe(str(tiny_recipe), ("train.mix_from_epoch=1", "train.mixup_alpha=0.2")))
