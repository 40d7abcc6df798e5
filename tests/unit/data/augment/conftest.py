import cv2
import numpy as np
import pytest


@pytest.fixture
def image():
    """A smooth picture in color over the full range, 120 x 160."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
