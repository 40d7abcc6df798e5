import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiron.data.dataset import DrawKey, EpochBatches, StoredImages, TrainingImages
from chiron.data.source import ImageSource
from chiron.engine.runtime import start_runtime
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec

SPEC = InputSpec(img_size=32, in_chans=1)
AUGMENT = AugmentRecipe(hflip=0.5, degrees=20, translate=0.1, scale=(0.8, 1.2), brightness=0.2, contrast=0.2)


def training_images(folder, seed: int = 0) -> TrainingImages:
    source = ImageSource(folder)
    paths = source.names()
    return TrainingImages(source, paths, SPEC, sample_ids=paths, recipe=AUGMENT, seed=seed)


def epoch_pixels(images: TrainingImages, num_workers: int, epoch: int) -> torch.Tensor:
    batches = EpochBatches(len(images), 8, seed=0)
    batches.begin(epoch)
    loader = start_runtime(device="cpu", num_workers=num_workers).loader(images, batches=batches)
    return torch.cat([pixels for pixels, _ in loader])


@pytest.mark.slow
def test_same_pixels_for_any_number_of_workers(class_folders):
    images = training_images(class_folders)
    alone = epoch_pixels(images, 0, epoch=3)
    torch.testing.assert_close(epoch_pixels(images, 2, epoch=3), alone, rtol=0, atol=0)


def test_pixels_follow_epoch_sample_and_occurrence(class_folders):
    images = training_images(class_folders)
    first = images[DrawKey(0, epoch=0)][0]
    torch.testing.assert_close(images[DrawKey(0, epoch=0)][0], first, rtol=0, atol=0)
    for other in (images[DrawKey(0, epoch=1)], images[DrawKey(0, epoch=0, occurrence=1)]):
        assert not torch.equal(other[0], first)
    assert not torch.equal(training_images(class_folders, seed=1)[DrawKey(0, epoch=0)][0], first)


def test_a_sample_looks_the_same_wherever_it_stands(class_folders):
    """Its name decides, not its place in the list."""
    whole = training_images(class_folders)
    paths = whole.paths[10:15]
    part = TrainingImages(ImageSource(class_folders), paths, SPEC, sample_ids=paths, recipe=AUGMENT, seed=0)
    torch.testing.assert_close(part[DrawKey(2, 4)][0], whole[DrawKey(12, 4)][0], rtol=0, atol=0)


def test_stored_images_are_plain(class_folders):
    source = ImageSource(class_folders)
    pixels, index = StoredImages(source, source.names(), SPEC)[3]
    assert index == 3
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (1, 32, 32)


def test_sixteen_bit_images_become_whole_numbers_torch_can_stack(tmp_path, random):
    from PIL import Image

    Image.fromarray(random.integers(0, 65536, (32, 32), dtype=np.uint16)).save(tmp_path / "a.png")
    spec = InputSpec(img_size=32, in_chans=1, bit_depth=16)
    pixels, _ = StoredImages(ImageSource(tmp_path), ["a.png"], spec)[0]
    assert pixels.dtype == torch.int32
    assert pixels.max() > 255


@given(num_samples=st.integers(1, 200), batch_size=st.integers(1, 50), epoch=st.integers(0, 5))
def test_an_epoch_holds_every_sample_once_in_even_batches(num_samples, batch_size, epoch):
    batches = EpochBatches(num_samples, batch_size, seed=1)
    batches.begin(epoch)
    drawn = list(batches)
    assert sorted(key.index for batch in drawn for key in batch) == list(range(num_samples))
    sizes = {len(batch) for batch in drawn}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    batches.begin(epoch, len(drawn) // 2)
    assert list(batches) == drawn[len(drawn) // 2 :]
    assert len(batches) == len(drawn) - len(drawn) // 2


def test_order_differs_between_epochs_and_seeds():
    def order(seed, epoch):
        batches = EpochBatches(50, 10, seed=seed)
        batches.begin(epoch)
        return [key.index for batch in batches for key in batch]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def draws(y_true, epoch=0, seed=0, batch_size=8, start=0):
    batches = EpochBatches(len(y_true), batch_size, seed=seed, balance=np.asarray(y_true))
    batches.begin(epoch, start)
    return [key for batch in batches for key in batch]


COUNTS = (5, 35, 160)
Y_TRAIN = np.repeat(np.arange(3), COUNTS)


def test_balanced_epochs_draw_every_class_equally_often():
    """Within 3 sigma of uniform over classes, and over the images of a class, as WeightedRandomSampler(1 / n_c)."""
    epochs = 40
    drawn = np.array([key.index for epoch in range(epochs) for key in draws(Y_TRAIN, epoch)])
    assert len(drawn) == epochs * len(Y_TRAIN)

    assert (within(np.bincount(Y_TRAIN[drawn], minlength=3), 1 / 3) < 3).all()
    reference = torch.tensor(1 / np.array(COUNTS)[Y_TRAIN])
    law = (reference / reference.sum()).numpy()  # of every single draw of torch's sampler
    assert (within(np.bincount(drawn, minlength=len(Y_TRAIN)), law) < 4.5).all()  # 200 comparisons


def test_draws_are_independent_as_torchs_are():
    """The number of draws of a class in an epoch varies as a binomial does, which even dealing would not."""
    per_epoch = [np.bincount(Y_TRAIN[[key.index for key in draws(Y_TRAIN, epoch)]])[0] for epoch in range(300)]
    expected = len(Y_TRAIN) * (1 / 3) * (2 / 3)
    assert 0.7 * expected < np.var(per_epoch) < 1.4 * expected


@given(
    y_true=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    batch_size=st.integers(1, 20),
    epoch=st.integers(0, 3),
    start=st.integers(0, 3),
)
def test_occurrences_count_repeats_and_do_not_depend_on_where_an_epoch_starts(y_true, batch_size, epoch, start):
    whole = draws(y_true, epoch, batch_size=batch_size)
    assert len(whole) == len(y_true)
    assert len(set(whole)) == len(whole)  # no key twice
    seen = {}
    for key in whole:
        assert key.occurrence == seen.get(key.index, 0)
        seen[key.index] = key.occurrence + 1
    rest = draws(y_true, epoch, batch_size=batch_size, start=start)
    assert rest == whole[len(whole) - len(rest) :]
    assert draws(y_true, epoch, batch_size=batch_size + 3) == whole  # batches cut the order, they do not make it


def test_balanced_order_differs_between_epochs_and_seeds():
    def order(**names):
        return [key.index for key in draws(Y_TRAIN, **names)]

    assert order() == order()
    assert order() != order(epoch=1)
    assert order() != order(seed=1)


def balanced_epoch(images, num_workers: int, start: int = 0):
    """Pixels and index of each draw; only the first five of the images are of the rare class."""
    y_train = np.array([0] * 5 + [1] * (len(images) - 5))
    batches = EpochBatches(len(images), 8, seed=0, balance=y_train)
    batches.begin(2, start)
    drawn = list(start_runtime(device="cpu", num_workers=num_workers).loader(images, batches=batches))
    return torch.cat([pixels for pixels, _ in drawn]), torch.cat([index for _, index in drawn])


def test_repeats_differ_and_come_again_after_resuming(class_folders):
    images = training_images(class_folders)
    pixels, index = balanced_epoch(images, 0)
    rare = pixels[index < 5]
    assert len(rare) >= 10
    assert len(rare.flatten(1).unique(dim=0)) == len(rare)
    rest, rest_index = balanced_epoch(images, 0, start=3)
    torch.testing.assert_close(rest, pixels[-len(rest) :], rtol=0, atol=0)
    torch.testing.assert_close(rest_index, index[-len(rest) :], rtol=0, atol=0)


@pytest.mark.slow
def test_repeats_are_the_same_for_any_number_of_workers(class_folders):
    images = training_images(class_folders)
    alone = balanced_epoch(images, 0)[0]
    torch.testing.assert_close(balanced_epoch(images, 2)[0], alone, rtol=0, atol=0)


def cut_in_two(rank):
    """The first or the second half of a batch, cut at an even place as processes cut it."""
    return lambda count: (slice(0, count // 4 * 2), slice(count // 4 * 2, count))[rank]


def within(counts, p):
    """How far counts lie from what `p` lets expect, in standard deviations."""
    total = counts.sum()
    return abs(counts - total * p) / np.sqrt(total * p * (1 - p))


def balanced_classes(epochs, **options):
    """The classes drawn in so many balanced epochs."""
    batches = EpochBatches(len(Y_TRAIN), 16, seed=3, balance=Y_TRAIN, **options)
    drawn = []
    for epoch in range(epochs):
        batches.begin(epoch)
        drawn += [key.index for batch in batches for key in batch]
    return np.bincount(Y_TRAIN[drawn], minlength=3)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("rank", [None, 0, 1])
def test_every_class_is_drawn_equally_often_also_in_whole_batches_and_by_each_process(drop_last, rank):
    counts = balanced_classes(60, drop_last=drop_last, part=None if rank is None else cut_in_two(rank))
    images = 60 * (192 if drop_last else 200)  # 12 batches of 16, or all 200
    share = 1 if rank is None else 1 / 2
    assert counts.sum() == pytest.approx(share * images, rel=0.15)  # 15 and 16 images are cut after 6 and 8
    assert (within(counts, 1 / 3) < 3).all()


@given(num_samples=st.integers(1, 200), batch_size=st.integers(1, 50), epoch=st.integers(0, 3), balanced=st.booleans())
def test_drop_last_leaves_whole_batches_alone(num_samples, batch_size, epoch, balanced):
    """All of one size, cut from the order of the epoch; fewer images than a batch are one batch."""
    balance = np.arange(num_samples) % 3 if balanced else None
    batches = EpochBatches(num_samples, batch_size, seed=1, drop_last=True, balance=balance)
    batches.begin(epoch)
    drawn = list(batches)
    if num_samples < batch_size:
        assert [len(batch) for batch in drawn] == [num_samples]
    else:
        assert [len(batch) for batch in drawn] == [batch_size] * (num_samples // batch_size)
    assert len(batches) == batches.num_batches == len(drawn)
    order = EpochBatches(num_samples, num_samples, seed=1, balance=balance)
    order.begin(epoch)
    (whole,) = order
    assert [key for batch in drawn for key in batch] == whole[: sum(map(len, drawn))]


def test_what_drop_last_leaves_out_differs_between_epochs():
    batches, left = EpochBatches(50, 8, seed=0, drop_last=True), []
    for epoch in range(40):
        batches.begin(epoch)
        left.append(frozenset(range(50)) - {key.index for batch in batches for key in batch})
    assert {len(images) for images in left} == {2}
    assert len(set().union(*left)) > 30


@given(num_samples=st.integers(4, 100), batch_size=st.integers(4, 20), balanced=st.booleans())
def test_processes_share_a_batch_and_know_the_whole(num_samples, batch_size, balanced):
    balance = np.arange(num_samples) % 2 if balanced else None
    ranks = [EpochBatches(num_samples, batch_size, seed=2, balance=balance, part=cut_in_two(rank)) for rank in (0, 1)]
    alone = EpochBatches(num_samples, batch_size, seed=2, balance=balance)
    for batches in (*ranks, alone):
        batches.begin(1)
    for number, (first, second, whole) in enumerate(zip(*ranks, alone, strict=True)):
        assert first + second == whole
        for batches in (*ranks, alone):
            assert batches.index_of(number).tolist() == [key.index for key in whole]
