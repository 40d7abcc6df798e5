"""What the loader yields: stored images for scoring, augmented ones for training. Randomness comes from names alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from chiron.core.hashing import seed_of
from chiron.data.augment.apply import augment
from chiron.data.augment.draw import Draw, draw_augmentation
from chiron.data.cache import CachedImages
from chiron.data.source import ImageSource
from chiron.preprocess.resize import StoredImage
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec


@dataclass(frozen=True)
class DrawKey:
    """Names one training image: `occurrence` counts how often this sample was drawn before in this epoch."""

    index: int
    epoch: int
    occurrence: int = 0


def to_tensor(image: np.ndarray) -> Tensor:
    """(height, width, channels) array to (channels, height, width) tensor; uint16 becomes int32, to be stacked."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), dtype=_tensor_dtype(image), order="C"))


def _tensor_dtype(image: np.ndarray) -> type:
    return np.int32 if image.dtype == np.uint16 else image.dtype.type


class StoredImages(Dataset):
    """Canonical images of `paths`, unchanged; item i is (pixels, i).

    Args:
        cached: where the images are stored already; without it they are decoded.
    """

    def __init__(
        self, source: ImageSource, paths: Sequence[str], spec: InputSpec, *, cached: CachedImages | None = None
    ) -> None:
        self.source, self.paths, self.spec, self.cached = source, list(paths), spec, cached

    def __len__(self) -> int:
        return len(self.paths)

    def stored(self, index: int) -> StoredImage:
        """The canonical image number `index`."""
        if self.cached is not None:
            return self.cached.read(self.paths[index])
        return self.source.stored(self.paths[index], self.spec)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return to_tensor(self.stored(index)), index


class TrainingImages(StoredImages):
    """Augmented images; an item is a function of (seed, epoch, sample_id, occurrence), never of worker or order."""

    def __init__(
        self,
        source: ImageSource,
        paths: Sequence[str],
        spec: InputSpec,
        *,
        sample_ids: Sequence[str],
        recipe: AugmentRecipe,
        seed: int,
        cached: CachedImages | None = None,
    ) -> None:
        super().__init__(source, paths, spec, cached=cached)
        self.sample_ids, self.recipe, self.seed = list(sample_ids), recipe, seed

    def draw(self, key: DrawKey) -> Draw:
        """The random numbers of this image."""
        seed = seed_of("augment", self.seed, key.epoch, self.sample_ids[key.index], key.occurrence)
        return draw_augmentation(self.recipe, seed)

    def augmented(self, key: DrawKey, stored: StoredImage) -> Tensor:
        """The stored image of `key`, changed as its name says."""
        return to_tensor(augment(stored, self.draw(key), self.spec))

    def __getitem__(self, key: DrawKey) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.augmented(key, self.stored(key.index)), key.index


class DrawnImages(Dataset):
    """The same images before they are augmented, each with its draw, for `augment_batch` where the batch is needed."""

    def __init__(self, images: TrainingImages) -> None:
        self.images = images

    def __getitem__(self, key: DrawKey) -> tuple[Tensor, int, Draw]:
        return to_tensor(self.images.stored(key.index)), key.index, self.images.draw(key)


def collate_drawn(items: Sequence[tuple[Tensor, int, Draw]]) -> tuple[Tensor, Tensor, list[Draw]]:
    """The batch of some `DrawnImages`: stored pixels, indices, draws."""
    stored, index, draws = zip(*items, strict=True)
    return torch.stack(stored), torch.tensor(index), list(draws)


class EpochBatches(Sampler[list[DrawKey]]):
    """The batches of one epoch in an order drawn from (seed, epoch); `begin` chooses the epoch and where it starts.

    An epoch holds every sample once. With `balance` it holds as many draws with replacement instead, each of every
    class with the same probability, as torch's WeightedRandomSampler does with weights 1 / n_c.
    Batch sizes differ by at most one, so that no image is left out and no batch is left with a single image; with
    `drop_last` all are `batch_size`, and what fills no batch is left out.

    Args:
        balance: the class of each sample.
        part: from the number of images of a batch the places that this process works on; all of them by default.
        max_batches: an epoch has no more.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        *,
        balance: Int[np.ndarray, "n"] | None = None,
        drop_last: bool = False,
        part: Callable[[int], slice] | None = None,
        max_batches: int | None = None,
    ) -> None:
        self.num_samples, self.batch_size, self.seed, self.part = num_samples, batch_size, seed, part
        self.drop_last = drop_last and num_samples >= batch_size
        whole = num_samples // batch_size if self.drop_last else -(-num_samples // batch_size)
        self.num_batches = min(max(1, whole), max_batches or whole)
        self._cuts = whole
        self.epoch, self.start = 0, 0
        self.shares = None if balance is None else _balanced_shares(balance)
        self._batches: list[list[DrawKey]] = []

    def begin(self, epoch: int, start: int = 0) -> None:
        """The next iteration yields the batches of `epoch` from number `start` on."""
        self.epoch, self.start = epoch, start
        keys = self._keys()
        if self.drop_last:
            keys = keys[: self._cuts * self.batch_size]
        places = np.array_split(np.arange(len(keys)), max(1, self._cuts))
        self._batches = [[keys[place] for place in batch] for batch in places[: self.num_batches]]

    def index_of(self, number: int) -> Int[Tensor, "n"]:
        """The images of batch `number` of this epoch, those of all processes together."""
        return torch.tensor([key.index for key in self._batches[number]])

    def keys_of(self, number: int) -> list[DrawKey]:
        """The draws of batch `number` of this epoch."""
        return self._batches[number]

    def __len__(self) -> int:
        return self.num_batches - self.start

    def __iter__(self) -> Iterator[list[DrawKey]]:
        if not self._batches:
            self.begin(self.epoch, self.start)
        for batch in self._batches[self.start :]:
            yield batch if self.part is None else batch[self.part(len(batch))]

    def _keys(self) -> list[DrawKey]:
        """All draws of the epoch; repeats are counted from its start, wherever the iteration starts."""
        random = np.random.Generator(np.random.Philox(key=seed_of("order", self.seed, self.epoch)))
        if self.shares is None:
            return [DrawKey(int(index), self.epoch) for index in random.permutation(self.num_samples)]
        drawn: Counter[int] = Counter()
        keys = []
        for index in random.choice(self.num_samples, size=self.num_samples, p=self.shares).tolist():
            keys.append(DrawKey(index, self.epoch, drawn[index]))
            drawn[index] += 1
        return keys


def _balanced_shares(y_true: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The probability of each sample in one draw that takes every class equally often."""
    _, place, counts = np.unique(y_true, return_inverse=True, return_counts=True)
    weights = 1 / counts[place]
    return weights / weights.sum()
