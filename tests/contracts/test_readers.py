"""Every registered reader keeps the contract, on a small data set of its own layout."""

import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chiron.core.errors import DataError
from chiron.core.registry import leaf_names, load_leaf
from chiron.data.readers._found import look_at
from chiron.data.reading import READERS, read_dataset
from chiron.preprocess.decode import IMAGE_SUFFIXES
from chiron.spec.layout import Layout


def write_images(root: Path, *paths: str) -> Path:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / path)
    return root


def class_folders(root: Path) -> Path:
    return write_images(root, "train/cat/1.png", "train/dog/2.png", "test/cat/3 ü.png", "test/dog/nested/4.jpg")


def kermany(root: Path) -> Path:
    persons = [f"train/PNEUMONIA/person{n}_{kind}_{n}.jpeg" for n in range(3) for kind in ("bacteria", "virus")]
    return write_images(root, *persons, "train/NORMAL/IM-0001-0001.jpeg", "test/NORMAL/NORMAL2-IM-0001-0001.jpeg")


def medmnist(root: Path) -> Path:
    root.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 5), dtype=np.uint8)
    labels = (np.arange(9)[:, None] % 3).astype(np.uint8)
    arrays = {f"{split}_{what}": part[3 * k : 3 * k + 3]
              for k, split in enumerate(("train", "val", "test"))
              for what, part in (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(root / "own.npz", **arrays)
    return root / "own.npz"


def write_lines(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def ham10000(root: Path) -> Path:
    write_images(root, *[f"HAM10000_images_part_{1 + n % 2}/ISIC_{n}.jpg" for n in range(4)])
    rows = [f"HAM_{n // 2},ISIC_{n},{('mel', 'nv')[n // 2]},histo,50.0,male,back" for n in range(4)]
    write_lines(root / "HAM10000_metadata.csv", "lesion_id,image_id,dx,dx_type,age,sex,localization", *rows)
    return root


def table(root: Path) -> Path:
    write_images(root, "images/one two.png", "images/ü.png", "images/3.png")
    write_lines(root / "labels.csv", "filename,MEL,NV,UNK", "one two,1.0,0.0,0.0", "ü,0.0,1.0,0.0", "3,1.0,0.0,0.0")
    write_lines(root / "metadata.csv", "image;patient_id", "one two;p1", "3;p1")
    return root


def roboflow(root: Path) -> Path:
    names = [f"{place}/{n}_jpg.rf.{n:032x}.jpg" for n, place in enumerate(("train/a", "train/b", "valid/a", "test/b"))]
    write_images(root, *names)
    write_lines(root / "README.roboflow.txt", "exported")
    return root


CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture,Pleural Effusion"
NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,Image[Width,Height],"
PAD = "patient_id,lesion_id,age,gender,fitspatrick,region,diagnostic,itch,img_id,biopsed"


def chexpert(root: Path) -> Path:
    folders = (
        "train/patient00001/study1",
        "train/patient00001/study2",
        "train/patient00002/study1",
        "valid/patient00003/study1",
    )
    write_images(root, *[f"{folder}/view1_frontal.jpg" for folder in folders])
    cells = ("1.0,,,", ",1.0,,-1.0", ",0.0,,1.0", "0.0,1.0,0.0,0.0")
    rows = [
        f"CheXpert-v1.0-small/{folder}/view1_frontal.jpg,Male,60,Frontal,AP,{labels}"
        for folder, labels in zip(folders, cells, strict=True)
    ]
    write_lines(root / "train.csv", CHEXPERT, *rows[:3])
    write_lines(root / "valid.csv", CHEXPERT, *rows[3:])
    return root


def nih(root: Path) -> Path:
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png"]
    write_images(root, *[f"images_001/images/{name}" for name in names])
    said = ("Mass|Edema,0,1", "No Finding,1,1", "Edema,0,2")
    rows = [f"{name},{cells},60,M,PA,2048,2048," for name, cells in zip(names, said, strict=True)]
    write_lines(root / "Data_Entry_2017.csv", NIH, *rows)
    write_lines(root / "train_val_list.txt", *names[:2])
    write_lines(root / "test_list.txt", names[2])
    return root


def pad_ufes(root: Path) -> Path:
    names = [f"PAT_{n}_{n}_{n}.png" for n in (1, 2, 3)]
    write_images(root, *[f"imgs_part_1/{name}" for name in names])
    said = ("PAT_1,7,60,MALE,2.0,ARM,BCC,True", "PAT_1,7,60,MALE,2.0,ARM,BCC,UNK", "PAT_2,7,,,,FACE,NEV,False")
    rows = [f"{cells},{name},{'BCC' in cells}" for name, cells in zip(names, said, strict=True)]
    write_lines(root / "metadata.csv", PAD, *rows)
    return root


EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "chexpert": chexpert,
    "class_folders": class_folders,
    "ham10000": ham10000,
    "kermany": kermany,
    "medmnist": medmnist,
    "nih": nih,
    "pad_ufes": pad_ufes,
    "roboflow": roboflow,
    "table": table,
}


def check_reader(name: str, data: Path, tmp_path: Path) -> None:
    """Recognized; ids unique; labels known; every image found and decoded; deterministic; survives saving."""
    leaf = load_leaf(READERS, name, kind="reader")
    found = look_at(data, Layout())
    assert leaf.match(found) > 0
    for groups in (None, *leaf.GROUPS):
        manifest = read_dataset(data, Layout(groups=groups))
        assert manifest.reader == name
        assert manifest.frame["sample_id"].n_unique() == manifest.frame.height > 0
        assert set(manifest.frame["path"]) <= set(found.names)
        if manifest.is_multi_label:
            assert set(np.unique(manifest.labels)) <= {1, 0, -1, -2}
            assert (manifest.labels == 1).any(axis=0).all()
        else:
            assert manifest.labels.min() >= 0
            assert manifest.labels.max() < len(manifest.classes)
        assert set(manifest.frame["status"]) == {"ok"}
        assert manifest.grouping.endswith(".")
        again = read_dataset(data, Layout(reader=name, groups=groups))
        assert again.frame.equals(manifest.frame)
        assert again.digest == manifest.digest
        assert set(pickle.loads(pickle.dumps(manifest)).id_certainty) == set(manifest.id_certainty)
        manifest.save(tmp_path / f"m-{groups}")
        assert read_dataset(tmp_path / f"m-{groups}").frame.equals(manifest.frame)


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_reader_contract(name, tmp_path):
    if name not in EXAMPLES:
        pytest.fail(f"the reader {name} needs a small data set of its layout in EXAMPLES of this file")
    check_reader(name, EXAMPLES[name](tmp_path / "data"), tmp_path)


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_reader_does_not_depend_on_the_order_of_files(name, tmp_path):
    data = EXAMPLES[name](tmp_path / "data")
    found, leaf = look_at(data, Layout()), load_leaf(READERS, name, kind="reader")
    one, other = leaf.read(found), leaf.read(replace(found, names=found.names[::-1], tables=found.tables[::-1]))
    assert one.frame.sort("sample_id").equals(other.frame.sort("sample_id"))
    assert (one.classes, one.notes) == (other.classes, other.notes)


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_only_one_reader_takes_a_layout(name, tmp_path):
    data = EXAMPLES[name](tmp_path / "data")
    found = look_at(data, Layout())
    scores = {other: load_leaf(READERS, other, kind="reader").match(found) for other in EXAMPLES}
    assert sorted(scores, key=scores.__getitem__)[-1] == name
    assert list(scores.values()).count(scores[name]) == 1


def test_a_zip_reads_as_its_folder(tmp_path):
    for name in ("chexpert", "class_folders", "kermany", "ham10000", "nih", "pad_ufes", "roboflow", "table"):
        data = EXAMPLES[name](tmp_path / name)
        zipped = shutil.make_archive(str(tmp_path / f"{name}-zip"), "zip", data)
        assert read_dataset(zipped).frame.equals(read_dataset(data).frame)


FAULTS = {"truncated": lambda data: data[: len(data) // 2], "empty": lambda data: b"", "text": lambda data: b"no image"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", leaf_names(READERS))
def test_a_broken_file_is_named_and_never_dropped(name, fault, tmp_path):
    data = EXAMPLES[name](tmp_path / "data")
    images = [data] if data.is_file() else sorted(path for path in data.rglob("*") if path.suffix in IMAGE_SUFFIXES)
    images[0].write_bytes(FAULTS[fault](images[0].read_bytes()))
    if data.is_file():
        with pytest.raises(DataError, match="must be a complete npz file"):
            read_dataset(data)
        return
    manifest = read_dataset(data)
    broken = manifest.frame.filter(manifest.frame["status"] == "unreadable")
    assert broken["path"].to_list() == [images[0].relative_to(data).as_posix()]
    assert "must" in broken["status_reason"][0]
    assert any("cannot be decoded: 1" in note for note in manifest.notes)


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_one_class_alone_is_refused(name, tmp_path):
    data = EXAMPLES[name](tmp_path / "data")
    if name == "medmnist":
        arrays = dict(np.load(data))
        np.savez(data, **{key: value * 0 if key.endswith("labels") else value for key, value in arrays.items()})
    elif name == "ham10000":
        text = (data / "HAM10000_metadata.csv").read_text(encoding="utf-8")
        (data / "HAM10000_metadata.csv").write_text(text.replace(",nv,", ",mel,"), encoding="utf-8")
    elif name == "pad_ufes":
        text = (data / "metadata.csv").read_text(encoding="utf-8")
        (data / "metadata.csv").write_text(text.replace(",NEV,", ",BCC,"), encoding="utf-8")
    elif name in ("chexpert", "nih"):
        pytest.skip("one finding is a question of its own where an image can show several classes or none")
    elif name == "table":
        write_lines(data / "labels.csv", "filename,label", "one two,MEL", "ü,MEL", "3,MEL")
    else:
        for folder in [path for path in data.rglob("*") if path.name in ("cat", "NORMAL", "b")]:
            shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"at least two classes\. Got one"):
        read_dataset(data, Layout(reader=name))


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_an_empty_folder_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"must hold images\. Got no file at all"):
        read_dataset(tmp_path, Layout(reader=name))


@pytest.mark.parametrize("name", leaf_names(READERS))
def test_a_reader_that_does_not_fit_says_so(name, tmp_path):
    for other in set(EXAMPLES) - {name}:
        data = EXAMPLES[other](tmp_path / other)
        with suppress(DataError):  # a sentence, or another right reading of the same files; never another error
            assert read_dataset(data, Layout(reader=name)).frame.height
