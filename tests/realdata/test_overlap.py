"""The test images of ISIC 2018 are new to what was trained on HAM10000; images of HAM10000 among them stop it."""

import shutil

import pytest
from PIL import Image

from chiron.audit.overlap import find_overlap, require_no_overlap
from chiron.core.errors import LeakError
from chiron.data.known_images import known_images
from chiron.data.reading import read_dataset

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.fixture(scope="module")
def training(real_data):
    manifest = read_dataset(real_data / "ham10000_subset")
    return manifest.with_splits(dict.fromkeys(manifest.frame["sample_id"], "train"))


def test_isic_2018_is_new_and_mixed_in_images_are_found(training, real_data, tmp_path):
    known = known_images(training, ("train",))
    part = read_dataset(real_data / "isic2018_test_subset")
    overlap = find_overlap(part, known)
    assert overlap.same_pixels == ()
    assert len(overlap.suspects) <= 3
    assert overlap.seen == ()
    mixed = tmp_path / "mixed"
    shutil.copytree(part.root, mixed, ignore=lambda _, names: [name for name in names if name > "ISIC_0034700"])
    paths = training.frame["path"].head(20).to_list()
    for place, path in enumerate(paths):
        image = Image.open(training.root / path)
        target = mixed / f"new{place:02d}.jpg"
        if place < 5:
            shutil.copy(training.root / path, target)
        else:
            image.resize((160, 160), Image.Resampling.LANCZOS).save(target, quality=80)
    lines = [
        "image,label",
        *(f"{file.name},{('nv', 'mel')[k % 2]}" for k, file in enumerate(sorted(mixed.rglob("*.jpg")))),
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    from chiron.spec.layout import Layout

    found = find_overlap(read_dataset(table, Layout(images=mixed)), known)
    assert sorted(found.same_pixels) == [f"new{k:02d}" for k in range(5)]
    assert len(set(found.seen) & {f"new{k:02d}" for k in range(5, 20)}) >= 13
    with pytest.raises(LeakError, match="that its training has seen"):
        require_no_overlap(found)
