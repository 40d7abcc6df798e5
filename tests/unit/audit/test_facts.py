"""Facts of images: equal to what plain numpy and Pillow say, in the order of the rows, missing where unreadable."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.audit.facts import corner_facts, file_facts, measure_images, pixel_facts, sharpness
from chiron.audit.jpeg_quality import jpeg_quality
from chiron.data.source import ImageSource


def encoded(image: Image.Image, kind: str, **how) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality, random):
    for mode in ("L", "RGB"):
        image = Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).convert(mode)
        assert file_facts(encoded(image, "JPEG", quality=quality))["jpeg_quality"] == quality


def test_a_foreign_table_gets_the_quality_it_resembles():
    assert jpeg_quality([1] * 64) == 100
    assert jpeg_quality([255] * 64) == 1


@pytest.mark.parametrize(
    ("mode", "kind", "said"),
    [
        ("L", "PNG", "gray"),
        ("RGB", "PNG", "RGB"),
        ("RGBA", "PNG", "RGB with alpha"),
        ("P", "PNG", "palette"),
        ("CMYK", "JPEG", "CMYK"),
        ("1", "PNG", "black and white"),
        ("I;16", "PNG", "gray"),
    ],
)
def test_the_color_mode_is_that_of_the_file(mode, kind, said):
    data = encoded(Image.new(mode, (8, 8)), kind)
    facts = file_facts(data)
    assert (facts["color_mode"], facts["file_format"], facts["file_bytes"]) == (said, kind, len(data))
    assert ("jpeg_quality" in facts) == (kind == "JPEG")


def test_other_bytes_have_a_size_and_nothing_else():
    assert file_facts(b"no image") == {"file_bytes": 8}


def test_numbers_equal_those_of_numpy(random):
    pixels = random.integers(0, 256, (64, 64, 1), dtype=np.uint8)
    scalars, pictures = pixel_facts(pixels)
    assert scalars["mean"] == pytest.approx(pixels.mean() / 255)
    assert scalars["std"] == pytest.approx(pixels.std() / 255)
    assert scalars["black_share"] == pytest.approx((pixels <= 4).mean())
    assert scalars["white_share"] == pytest.approx((pixels >= 251).mean())
    assert (scalars["chroma"], scalars["bit_depth"]) == (0, 8)
    assert pictures["channel_mean"] == pytest.approx([pixels.mean() / 255] * 3, abs=1e-5)
    assert pictures["channel_square"] == pytest.approx([((pixels / 255.0) ** 2).mean()] * 3, abs=1e-5)
    counts = np.histogram(pixels, bins=16, range=(0, 256))[0] / pixels.size
    assert pictures["histogram"] == pytest.approx(np.tile(counts, 3))
    blocks = pixels[..., 0].reshape(8, 8, 8, 8).mean(axis=(1, 3)) / 255
    assert pictures["thumbnail"].reshape(8, 8, 3)[..., 0] == pytest.approx(blocks, abs=0.5 / 255 + 1e-6)
    assert np.linalg.norm(pictures["gradients"]) == pytest.approx(1, abs=1e-5)


def test_sixteen_bits_are_measured_like_eight(random):
    pixels = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    eight, deep = pixel_facts(pixels), pixel_facts(pixels.astype(np.uint16) * 257)
    assert deep[0] == eight[0] | {"bit_depth": 16}
    assert all(np.array_equal(eight[1][name], deep[1][name]) for name in eight[1])


def test_gradients_tell_directions():
    stripes = np.tile(np.repeat([0, 200], 4).astype(np.uint8), (64, 8))
    upright, level = (pixel_facts(image[..., None])[1]["gradients"] for image in (stripes, stripes.T.copy()))
    assert (upright.reshape(64, 8).sum(axis=0) > 0).tolist() == [True] + [False] * 7
    assert (level.reshape(64, 8).sum(axis=0) > 0).tolist() == [False] * 4 + [True] + [False] * 3


def test_blur_lowers_sharpness_and_size_alone_hardly(random):
    gray = random.integers(0, 256, (256, 256), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(gray).resize((64, 64), Image.Resampling.BOX).resize((256, 256)))
    assert sharpness(soft) < sharpness(gray) / 10
    large = np.asarray(Image.fromarray(gray).resize((512, 512), Image.Resampling.NEAREST))
    assert sharpness(large) == pytest.approx(sharpness(gray), rel=1e-4)


def test_a_mark_in_one_corner_shows_in_the_differences_of_that_corner_alone():
    plain = np.full((64, 64, 3), 100, np.uint8)
    marked = plain.copy()
    marked[2:6, 58:62] = 250  # upper right, the second corner
    before, after = corner_facts(plain), corner_facts(marked)
    changed = np.flatnonzero(np.abs(before - after) > 1e-6)
    assert set(changed) <= set(range(6 + 6, 6 + 12))
    assert len(changed) == 5  # color, brightest and deviation; not the darkest


def test_rows_keep_their_order_and_unreadable_ones_have_no_facts(tmp_path, random):
    names = [f"{k}.png" for k in range(12)]
    for k, name in enumerate(names):
        Image.fromarray(random.integers(0, 255, (10 + k, 9), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "3.png").write_bytes(b"broken")
    (tmp_path / "4.png").write_bytes((tmp_path / "5.png").read_bytes()[:90])
    facts = measure_images(ImageSource(tmp_path), pl.DataFrame({"sample_id": names, "path": names}))
    assert facts.frame["height"].to_list() == [None if k in (3, 4) else 10 + k for k in range(12)]
    assert facts.frame["file_bytes"].null_count() == 0
    assert np.isnan(facts.thumbnail[[3, 4]]).all()
    assert np.isfinite(np.delete(facts.thumbnail, [3, 4], axis=0)).all()
    assert facts.images_per_second > 0
    part = facts.rows([7, 0])
    assert part.frame["sample_id"].to_list() == ["7.png", "0.png"]
    assert np.array_equal(part.border, facts.border[[7, 0]])


def test_rows_of_an_npz_have_no_file_facts(tmp_path, random):
    images = random.integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=np.zeros((3, 1)))
    rows = [f"train#{k}" for k in range(3)]
    facts = measure_images(ImageSource(tmp_path / "set.npz"), pl.DataFrame({"sample_id": rows, "path": rows})).frame
    assert facts["color_mode"].to_list() == ["RGB"] * 3
    assert {facts[name].null_count() for name in ("file_bytes", "file_format", "jpeg_quality")} == {3}
    assert facts["mean"][1] == pytest.approx(
        np.asarray(Image.fromarray(images[1]).convert("L")).mean() / 255, abs=0.002
    )


def test_formats_that_are_not_decoded_are_not_opened():
    data = encoded(Image.new("RGB", (4, 4)), "PPM")
    assert file_facts(data) == {"file_bytes": len(data)}
