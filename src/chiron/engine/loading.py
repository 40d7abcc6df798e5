"""The training images of a run, batch by batch: augmented one by one where they are read, or together on a GPU."""

from collections.abc import Iterator

from torch import Tensor

from chiron.data.augment.batch import augment_batch
from chiron.data.dataset import DrawnImages, EpochBatches, TrainingImages, collate_drawn
from chiron.engine.runtime import Runtime


class TrainingLoader:
    """What is left of the epoch that `batches` stands in, at every iteration: pixels at their final size, and indices.

    On a GPU stored images travel there as they are, a quarter of the bytes, and are augmented there: workers only read,
    and no processor core waits for a warp. On the CPU the same code is four times slower than image by image.
    """

    def __init__(self, images: TrainingImages, batches: EpochBatches, runtime: Runtime) -> None:
        self.spec, self.device, self.on_device = images.spec, runtime.device, runtime.augments_batches
        if self.on_device:
            self._loader = runtime.loader(DrawnImages(images), batches=batches, collate=collate_drawn)
        else:
            self._loader = runtime.loader(images, batches=batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not self.on_device:
            yield from self._loader
            return
        for stored, index, draws in self._loader:
            yield augment_batch(stored.to(self.device, non_blocking=True), draws, self.spec), index
