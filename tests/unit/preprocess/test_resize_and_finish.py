import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from chiron.data.dataset import to_tensor
from chiron.preprocess.finish import Finish
from chiron.preprocess.resize import canonical_resize
from chiron.spec.input_spec import InputSpec


@pytest.fixture
def rgb(random):
    return np.kron(random.integers(0, 256, (15, 20, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squash_equals_torchvision_on_pil_images(rgb, interpolation):
    spec = InputSpec(img_size=32, interpolation=interpolation)
    reference = v2.Resize((32, 32), interpolation=v2.InterpolationMode(interpolation), antialias=True)
    np.testing.assert_array_equal(canonical_resize(rgb, spec), np.asarray(reference(Image.fromarray(rgb))))


def test_finish_equals_torchvision_normalize(rgb):
    spec = InputSpec(img_size=32)
    stored = canonical_resize(rgb, spec)
    reference = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    torch.testing.assert_close(Finish(spec)(to_tensor(stored)[None])[0][0], reference(stored), rtol=0, atol=1e-6)


def test_letterbox_keeps_the_aspect_ratio(rgb):
    stored = canonical_resize(rgb, InputSpec(img_size=40, resize="letterbox"))
    assert not stored[:5].any()
    assert not stored[-5:].any()
    assert stored[5:35].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(stored[5:35], np.asarray(Image.fromarray(rgb).resize((40, 30), Image.BILINEAR)))


def test_gray_and_color_convert_as_pillow_does(rgb):
    gray = canonical_resize(rgb, InputSpec(img_size=80, canonical_size=80, in_chans=1))
    reference = Image.fromarray(np.asarray(Image.fromarray(rgb).convert("L"))).resize((80, 80), Image.BILINEAR)
    np.testing.assert_array_equal(gray[..., 0], np.asarray(reference))
    repeated = canonical_resize(gray, InputSpec(img_size=80))
    assert (repeated == gray).all()


def test_depth_conversions_keep_black_and_white():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None]
    deep = canonical_resize(ramp, InputSpec(img_size=256, in_chans=1, bit_depth=16))
    assert deep.dtype == np.uint16
    assert (deep.min(), deep.max()) == (0, 65535)
    np.testing.assert_array_equal(canonical_resize(deep, InputSpec(img_size=256, in_chans=1)), ramp)


def test_every_sixteen_bit_value_rounds_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    stored = canonical_resize(values, InputSpec(img_size=256, in_chans=1))
    np.testing.assert_array_equal(stored, np.rint(values / 257).astype(np.uint8))


def test_sixteen_bits_are_finer_than_eight(random):
    deep = random.integers(30000, 30256, (64, 64, 1), dtype=np.uint16)  # one gray level of an 8-bit image
    fine = Finish(InputSpec(img_size=32, in_chans=1, bit_depth=16))
    coarse = Finish(InputSpec(img_size=32, in_chans=1))
    spec16, spec8 = InputSpec(img_size=32, in_chans=1, bit_depth=16), InputSpec(img_size=32, in_chans=1)
    assert len(fine(to_tensor(canonical_resize(deep, spec16))[None])[0].unique()) > 20
    assert len(coarse(to_tensor(canonical_resize(deep, spec8))[None])[0].unique()) <= 2
