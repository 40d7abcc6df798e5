"""An npz of images, as MedMNIST publishes its sets."""

import threading
import zipfile
from pathlib import Path

import numpy as np

from chiron.core.errors import DataError
from chiron.data.sources.safety import BROKEN_ARCHIVE, refuse_bomb


class Npz:
    """Rows of the arrays `<split>_images`, called `<split>#<row>`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with zipfile.ZipFile(root) as packed:
            refuse_bomb(packed.infolist(), root, max_bytes=None)
        self.file = np.load(root, allow_pickle=False)
        self.keys = sorted(self.file.files)
        self.lock = threading.Lock()
        self.arrays: dict[str, np.ndarray] = {}

    def array(self, key: str) -> np.ndarray | None:
        """The array of this name; None where there is none."""
        if key not in self.keys:
            return None
        with self.lock:
            if key not in self.arrays:
                try:
                    self.arrays[key] = self.file[key]
                except BROKEN_ARCHIVE as error:
                    raise DataError(
                        f"An array must hold plain numbers or text. Got {error} in {key} of {self.root}. Get it again."
                    ) from error
            return self.arrays[key]

    def names(self) -> list[str]:
        """`<split>#<row>` for every row of images."""
        splits = [key.removesuffix("_images") for key in self.keys if key.endswith("_images")]
        return [f"{split}#{row}" for split in splits for row in range(len(self._images(split)))]

    def read_bytes(self, path: str) -> bytes:
        """The pixels of one row."""
        return self.row(path).tobytes()

    def _images(self, split: str) -> np.ndarray:
        images = self.array(f"{split}_images")
        if images is None or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)):
            shape = "no such array" if images is None else f"shape {images.shape}"
            raise DataError(
                f"{split}_images must have shape (n, height, width) or (n, height, width, 1, 3 or 4). "
                f"Got {shape} in {self.root}. Volumes are not read."
            )
        return images

    def row(self, path: str) -> np.ndarray:
        """The image of one row."""
        split, _, row = path.partition("#")
        images = self._images(split)
        if not row.isdecimal() or int(row) >= len(images):
            raise DataError(f"A row of {split}_images must be 0 to {len(images) - 1}. Got {path!r} in {self.root}.")
        return images[int(row)]
