import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from chiron.data.dataset import to_tensor
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.preprocess.finish import Finish
from chiron.preprocess.lung_mask import lung_mask
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


@pytest.fixture(scope="module")
def chest():
    """A phantom chest that is wider than high."""
    image = draw_phantom_cxr(num_images=1, img_size=128, seed=11).images[0]
    return np.repeat(np.pad(image, ((0, 0), (20, 20)))[..., None], 3, axis=2)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("resize", ["squash", "letterbox"])
def test_mask_is_the_last_channel_and_leaves_the_picture_as_it_was(chest, resize, in_chans, depth):
    numbers = {"img_size": 48, "canonical_size": 56, "resize": resize, "in_chans": in_chans, "bit_depth": depth}
    spec = InputSpec(**numbers, mask="lung")
    stored = canonical_resize(chest, spec)
    assert stored.shape == (56, 56, in_chans + 1)
    np.testing.assert_array_equal(stored[..., :in_chans], canonical_resize(chest, InputSpec(**numbers)))
    mask = stored[..., -1]
    assert set(np.unique(mask)) == {0, spec.max_value}
    assert mask.dtype == np.dtype(f"uint{depth}")
    whole = lung_mask(chest).mask * np.uint8(255)  # the picture's own geometry carries the mask to the same place
    moved = canonical_resize(whole[..., None], InputSpec(**{**numbers, "in_chans": 1, "bit_depth": 8}))[..., 0]
    assert ((mask > 0) != (moved > 127)).mean() < 0.02
    assert 0.1 < (mask > 0).mean() < 0.5


def test_mask_needs_no_particular_size_of_image(chest):
    spec = InputSpec(img_size=16, resize="letterbox", mask="lung")
    for image in (chest[:1], chest[:, :1], chest[::2, ::5], np.zeros((3, 700, 1), np.uint8)):
        assert canonical_resize(image, spec).shape == (16, 16, 4)


def test_finish_parts_picture_and_mask():
    spec = InputSpec(img_size=8, in_chans=1, mask="lung")
    pixels = torch.zeros(1, 2, 8, 8)
    pixels[:, 0], pixels[:, 1, 2:4] = 255.0, 255.0
    pixels[:, 1, 5] = torch.arange(8) * 36.0
    image, mask = Finish(spec)(pixels)
    assert image.shape == mask.shape == (1, 1, 8, 8)
    assert (image == image[0, 0, 0, 0]).all()
    assert mask[0, 0].sum(dim=1).tolist() == [0, 0, 8, 8, 0, 4, 0, 0]
    assert mask.dtype == torch.float32


def test_finish_counts_a_pixel_that_is_half_covered_as_inside():
    stored = np.zeros((16, 16, 2), np.uint8)
    stored[:, 3:9, 1] = 255  # in halves of the final pixels
    _, mask = Finish(InputSpec(img_size=8, canonical_size=16, in_chans=1, mask="lung"))(to_tensor(stored)[None])
    assert mask[0, 0, 0].tolist() == [0, 1, 1, 1, 1, 0, 0, 0]
