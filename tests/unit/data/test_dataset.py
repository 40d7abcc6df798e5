import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiron.data.dataset import DrawKey, EpochBatches, StoredImages, TrainingImages
from chiron.data.source import ImageSource
from chiron.engine.runtime import start_runtime
from chiron.spec.input_spec import InputSpec
from chiron.spec.recipe import AugmentRecipe

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
    for num_workers in (1, 2):
        torch.testing.assert_close(epoch_pixels(images, num_workers, epoch=3), alone, rtol=0, atol=0)


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
