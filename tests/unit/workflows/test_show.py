"""The contact sheet, from images to a PNG that holds nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

from chiron.cli.main import run
from chiron.core.errors import DataError, SpecError
from chiron.workflows.show import show_data, show_recipe


@pytest.fixture
def small():
    return show_recipe(None, "derm", ["input.img_size=64", "input.canonical_size=72", "augment.hue=0"])


def test_sheet_holds_stored_finished_and_drawn_images(class_folders, small, tmp_path):
    shown = show_data(class_folders, tmp_path / "a.png", small, count=3, draws=2)
    assert (shown.num_images, shown.num_lungs_found) == (3, None)
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert sheet.shape == (18 + 3 * (128 + 24), 6 + 4 * 134, 3)
    tiles = [sheet[18:146, 6 + 134 * k : 134 + 134 * k].astype(float) for k in range(4)]
    stored, finished = tiles[0].mean(), tiles[1].mean()
    assert stored == pytest.approx(finished, abs=2)
    assert np.abs(tiles[1] - tiles[2]).mean() > 1
    assert np.abs(tiles[2] - tiles[3]).mean() > 1
    assert sheet[146:170, :128].min() < 120  # the class is written under it


def test_sheet_is_a_function_of_data_recipe_and_seed_without_metadata(class_folders, small, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        show_data(class_folders, tmp_path / f"{name}.png", small, count=2, draws=1, seed=seed)
    data = {name: (tmp_path / f"{name}.png").read_bytes() for name in "abc"}
    assert data["a"] == data["b"] != data["c"]
    image = Image.open(io.BytesIO(data["a"]))
    image.load()
    assert set(image.info) <= {"dpi"}
    assert b"tEXt" not in data["a"]


def test_outlines_of_lungs_move_along(tmp_path):
    from chiron.workflows.phantoms import make_phantoms

    make_phantoms("phantom-cxr", tmp_path / "chests", num_images=6, img_size=128)
    recipe = show_recipe(None, "cxr_safe", ["input.img_size=128", "input.canonical_size=128"])
    shown = show_data(tmp_path / "chests", tmp_path / "lungs.png", recipe, count=4, draws=1, masks=True)
    assert shown.num_lungs_found is not None
    assert shown.num_lungs_found >= 3
    show_data(tmp_path / "chests", tmp_path / "plain.png", recipe, count=4, draws=1)
    with_lines, without = (
        np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("lungs", "plain")
    )
    drawn = (with_lines != without).any(axis=2)
    for place in range(3):  # on every tile of the first row, and nowhere near the whole of it
        assert 0.01 < drawn[18:146, 6 + 134 * place : 134 + 134 * place].mean() < 0.4
    blue = (with_lines == (0, 114, 178)).all(axis=2)
    assert blue.sum() > 100


def test_recipe_or_preset_but_not_both():
    assert show_recipe("ham10000/h_coatnet_nano", None).input.img_size == 96
    assert show_recipe(None, "dermalyze.light").augment.degrees == 15
    for recipe, preset, got in ((None, None, "neither"), ("ham10000/h_coatnet_nano", "derm", "both")):
        with pytest.raises(SpecError, match=f"One of --recipe and --preset must be given. Got {got}"):
            show_recipe(recipe, preset)
    with pytest.raises(SpecError, match="Did you mean 'derm'"):
        show_recipe(None, "dermm")


def test_existing_sheets_and_places_among_the_images_are_refused(class_folders, small, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(SpecError, match="--force"):
        show_data(class_folders, tmp_path / "a.png", small)
    with pytest.raises(SpecError, match="outside the images"):
        show_data(class_folders, class_folders / "a.png", small)


def test_broken_images_are_left_out(class_folders, small, tmp_path):
    for path in sorted(class_folders.rglob("*.png"))[1:]:
        path.write_bytes(b"broken")
    assert show_data(class_folders, tmp_path / "a.png", small, count=5, draws=1).num_images == 1
    for path in class_folders.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="Got none"):
        show_data(class_folders, tmp_path / "b.png", small)


def test_command_line(class_folders, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    arguments = ["data", "show", str(class_folders), "--out", str(out), "--preset", "h_coatnet.code", "--count", "2"]
    arguments += ["--draws", "1", "--set", "input={img_size: 32}", "-q"]
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"2 images, 1 draws each: {out}\n"
    assert run([*arguments[:4], str(tmp_path / "sheet.jpg"), "--preset", "derm"]) == 2
    assert "must be a .png file" in capsys.readouterr().err


def test_the_outline_is_the_mask_that_the_network_is_given(tmp_path):
    from chiron.workflows.phantoms import make_phantoms

    make_phantoms("phantom-cxr", tmp_path / "chests", num_images=6, img_size=128)
    (tmp_path / "r.yaml").write_text(
        "model: {name: chiron_hybrid_lung_vit_nano, init: scratch}\n"
        "input: {img_size: 128, in_chans: 1, mask: lung}\naugment: {preset: cxr_safe}\n"
        "labels: {positive: sick}\ntrain: {epochs: 1, batch_size: 8, lr: 1e-3}\n"
    )
    recipe = show_recipe(str(tmp_path / "r.yaml"), None)
    sheets = {}
    for masks in (False, True):
        shown = show_data(tmp_path / "chests", tmp_path / f"{masks}.png", recipe, count=3, draws=2, masks=masks)
        sheets[masks] = np.asarray(Image.open(tmp_path / f"{masks}.png").convert("RGB")).astype(int)
    assert shown.num_lungs_found is not None
    assert shown.num_lungs_found >= 2
    gray = sheets[False][18:146, 6:134]
    assert (gray == gray[..., :1]).all()  # the mask is no color of the picture
    drawn = (sheets[True] != sheets[False]).any(axis=2)
    stored, finished, first, second = (drawn[18:146, 6 + 134 * place : 134 + 134 * place] for place in range(4))
    np.testing.assert_array_equal(stored, finished)
    assert (stored != first).any()
    assert (first != second).any()
