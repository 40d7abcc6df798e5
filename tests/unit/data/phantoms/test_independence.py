"""With nothing planted, neither file size nor border nor corners tell the class: over ten seeds, after Holm."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.derm import draw_phantom_derm
from chiron.data.phantoms.encoding import encode, pad_all
from chiron.data.phantoms.phantom_set import PhantomSet

SEEDS = range(10)


def chest(seed: int) -> PhantomSet:
    return draw_phantom_cxr(num_images=20, img_size=32, seed=seed, images_per_patient=(1, 1))


def skin(seed: int) -> PhantomSet:
    return draw_phantom_derm(num_images=32, img_size=32, seed=seed, class_shares={"mel": 0.5, "nv": 0.5})


def features(phantoms: PhantomSet) -> dict[str, np.ndarray]:
    """One number an image of what must say nothing; and of the plain size, which does."""
    files = {row.sample_id: encode(image, ".png") for row, image in zip(phantoms.rows, phantoms.images, strict=True)}
    padded = pad_all(files, "size", 0)
    gray = phantoms.images.reshape(len(phantoms), 32, 32, -1).mean(axis=-1)
    border = np.concatenate([gray[:, 0], gray[:, -1], gray[:, 1:-1, 0], gray[:, 1:-1, -1]], axis=1)
    corners = np.stack([gray[:, :4, :4], gray[:, :4, -4:], gray[:, -4:, :4], gray[:, -4:, -4:]], axis=1)
    return {
        "size": np.array([len(data) for data in padded.values()]),
        "border": border.mean(axis=1),
        "corners": corners.mean(axis=(1, 2, 3)),
        "plain size": np.array([len(data) for data in files.values()]),
    }


@pytest.mark.parametrize("draw", [chest, skin])
def test_size_border_and_corners_do_not_tell_the_class(draw):
    p_values, plain, labels = [], [], []
    for seed in SEEDS:
        phantoms = draw(seed)
        is_first = phantoms.targets == phantoms.targets.max()
        found = features(phantoms)
        plain.append(found.pop("plain size"))
        labels.append(is_first)
        p_values += [mannwhitneyu(value[is_first], value[~is_first]).pvalue for value in found.values()]
    assert min(p_values) > 0.05 / len(p_values)  # Holm's first step: if the smallest stays, all stay
    # The test can find something: over all seeds, the size of unpadded files does tell the class.
    sizes, is_first = np.concatenate(plain), np.concatenate(labels)
    assert mannwhitneyu(sizes[is_first], sizes[~is_first]).pvalue < 0.01
