"""Files with more bits than are kept are told; an eight-bit set, a 16-bit recipe and an unreadable file are not."""

import numpy as np
import pytest
from PIL import Image

from chiron.data.depth import depth_warning
from chiron.data.reading import read_dataset
from chiron.spec.input_spec import InputSpec


def folder_of(tmp_path, dtype):
    for name in ("sick", "well"):
        (tmp_path / name).mkdir()
        for k in range(3):
            pixels = np.random.default_rng([k, len(name), name == "sick"]).integers(
                0, np.iinfo(dtype).max, (20, 20), dtype=dtype
            )
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    return read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "bit_depth", "is_told"), [(np.uint16, 8, True), (np.uint16, 16, False), (np.uint8, 8, False)]
)
def test_bits_that_are_lost_are_told(tmp_path, dtype, bit_depth, is_told):
    warning = depth_warning(folder_of(tmp_path, dtype), InputSpec(img_size=32, in_chans=1, bit_depth=bit_depth))
    assert ("input.bit_depth: 16 keeps them" in (warning or "")) == is_told


def test_a_file_that_was_damaged_since_is_left_to_who_reads_all(tmp_path):
    manifest = folder_of(tmp_path, np.uint16)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    assert depth_warning(manifest, InputSpec(img_size=32, in_chans=1)) is None
