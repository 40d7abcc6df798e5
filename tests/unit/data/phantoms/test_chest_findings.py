"""Chests with several findings: each on its own, in its own place, and the single finding as it was."""

import numpy as np
import pytest

from chiron.core.errors import DataError
from chiron.data.phantoms.chest_findings import FINDINGS
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.planted import Planted
from chiron.workflows.phantoms import make_phantoms

NAMES = tuple(FINDINGS)


@pytest.fixture(scope="module")
def several():
    return draw_phantom_cxr(num_images=120, img_size=32, seed=1, several_findings=True, images_per_patient=(1, 1))


def test_findings_come_with_their_shares_and_independently(several):
    labels = np.array([[row.labels[name] for name in NAMES] for row in several.rows])
    assert several.classes == NAMES
    assert np.abs(labels.mean(axis=0) - list(FINDINGS.values())).max() < 0.15
    assert np.abs(np.corrcoef(labels.T) - np.eye(3)).max() < 0.3
    assert {0, 1, 2} <= set(labels.sum(axis=1))


def test_what_is_drawn_is_what_the_labels_say(several):
    for row, mask in zip(several.rows, several.masks["finding"], strict=True):
        kinds = {finding.kind for finding in row.findings}
        assert kinds == {name for name in NAMES if row.labels[name]} == set(row.shown)
        assert row.label == ("|".join(row.shown) or "normal")
        assert mask.any() or not kinds & {"effusion", "opacity"}


def test_an_effusion_lies_low_and_brightens_its_place():
    several = draw_phantom_cxr(
        num_images=60, img_size=64, seed=2, several_findings=True, images_per_patient=(1, 1), difficulty=0.0
    )
    seen = [(image, mask, lungs) for row, image, mask, lungs in zip(
        several.rows, several.images, several.masks["finding"], several.masks["lungs"], strict=True)
        if row.shown == ("effusion",)]  # fmt: skip
    assert len(seen) > 5
    for image, mask, lungs in seen:
        rows = np.flatnonzero(mask.any(axis=1))
        inside = np.flatnonzero(lungs.any(axis=1))
        assert rows.mean() > inside.mean()
        assert image[mask > 0].mean() > image[(lungs > 0) & (mask == 0)].mean()


def test_wrong_labels_are_planted_finding_by_finding():
    noisy = draw_phantom_cxr(
        num_images=150,
        img_size=28,
        seed=3,
        several_findings=True,
        images_per_patient=(1, 1),
        planted=Planted(label_noise=0.2),
    )
    wrong = [row.labels[name] != (name in row.true_label.split("|")) for row in noisy.rows for name in NAMES]
    assert 0.12 < np.mean(wrong) < 0.28


def test_only_chests_have_several_findings(tmp_path):
    for layout in ("chexpert", "nih"):
        with pytest.raises(DataError, match=f"The layout {layout} holds phantom-cxr"):
            make_phantoms("phantom-derm", tmp_path / "x", num_images=10, layout=layout)
