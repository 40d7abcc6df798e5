"""Colors over an image, and the picture of one map."""

import io

import numpy as np
import pytest
from PIL import Image

from chiron.report.plots.saliency import color_stops, overlay, saliency_png


def test_colors_grow_brighter_in_even_steps():
    shown, heat = np.zeros((1, 11, 1), np.uint8), np.linspace(0, 1, 11)[None]
    light = overlay(shown, heat).astype(float)[0] @ (0.299, 0.587, 0.114)
    assert (np.diff(light) > 5).all()


def test_the_image_stays_visible_below_the_map():
    shown = np.array([[[0], [255]]], np.uint8)
    dark, bright = overlay(shown, np.full((1, 2), 0.5))[0].astype(int)
    assert (bright - dark).tolist() == pytest.approx([102, 102, 102], abs=1)  # 0.4 of 255


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_same_each_time_and_holds_nothing_else(channels):
    shown = np.random.default_rng(0).integers(0, 255, (20, 20, channels), dtype=np.uint8)
    heat = np.linspace(0, 1, 400).reshape(20, 20)
    how = {"title": "a$b$, probability 0.9", "lines": ["word " * 60, "last"]}
    first = saliency_png(shown, heat, **how)
    assert first == saliency_png(shown, heat, **how)
    with Image.open(io.BytesIO(first)) as picture:
        picture.load()
        assert set(picture.info) <= {"dpi"}
    assert first != saliency_png(shown, 1 - heat, **how)


def test_stops_go_from_dark_to_bright():
    assert color_stops(2) == "#000004, #fcffa4"
