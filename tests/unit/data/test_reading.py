"""read_dataset and the readers, on small trees that look like the real ones."""

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.audit.leaks import find_leaks
from chiron.core.errors import ChironError, DataError
from chiron.data.identity import label_conflicts
from chiron.data.reading import read_dataset
from chiron.spec.layout import Layout


class Tree:
    """Writes images that all differ, unless a seed is given twice."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def add(self, *paths: str, seed: int | None = None) -> None:
        for path in paths:
            self.count += 1
            random = np.random.default_rng(1000 + self.count if seed is None else seed)
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)

    def add_bytes(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "data")


def column(manifest, name: str) -> dict[str, str | None]:
    return dict(manifest.frame.select("path", name).iter_rows())


def test_flat_class_folders_with_nested_folders_and_odd_names(tree):
    tree.add("gut artig/a b.png", "gut artig/visit 2/ü 肺.png", "bös/c.JPG", "bös/d.tiff", "outside.png")
    tree.add_bytes("bös/notes.txt", b"x")
    tree.add_bytes("README", b"x")
    manifest = read_dataset(tree.root)
    assert manifest.reader == "class_folders"
    assert manifest.classes == ("bös", "gut artig")
    assert column(manifest, "sample_id") == {
        "gut artig/a b.png": "a b", "gut artig/visit 2/ü 肺.png": "ü 肺", "bös/c.JPG": "c", "bös/d.tiff": "d",
    }  # fmt: skip
    assert column(manifest, "label")["gut artig/visit 2/ü 肺.png"] == "gut artig"
    assert set(manifest.frame["split"]) == {None}
    assert manifest.frame["group_id"].n_unique() == 4
    assert manifest.notes == (
        "Files that are no images are skipped: .txt 1, no suffix 1.",
        "Images outside a class folder are left out: 1.",
    )
    assert "patients unknown" in manifest.grouping


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_split_folders(tree, val):
    tree.add("train/a/1.png", "train/b/2.png", f"{val}/a/3.png", f"{val}/b/4.png", "TEST/a/5.png", "TEST/b/x/6.png")
    manifest = read_dataset(tree.root)
    assert list(column(manifest, "split").values()).count("val") == 2
    assert column(manifest, "split")["TEST/b/x/6.png"] == "test"
    assert column(manifest, "label")["TEST/b/x/6.png"] == "b"


def test_equal_stems_make_the_path_the_sample_id(tree):
    tree.add("a/1.png", "b/1.png", "b/2.png")
    manifest = read_dataset(tree.root)
    assert manifest.frame["sample_id"].to_list() == ["a/1.png", "b/1.png", "b/2.png"]
    assert manifest.notes == ("Images with the file name of another: 2; so sample_id is the whole path.",)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["cat/1.png", "cat/2.png"], r"at least two classes. Got one: cat \(2 images\)"),
        (["train/a/1.png", "b/1.png"], "all splits or all classes. Got splits train beside b"),
        (["a/1.png", "A/2.png"], "differ by more than case or white space around them. Got 'A', 'a'"),
        (
            ["1.png", "2.png"],
            r"fit one reader \(chexpert, class_folders, ham10000, .*table\). Got an unknown one \(files: 2\).*--reader",
        ),
        (["train/1.png", "test/1.png"], "must lie in class folders"),
    ],
)
def test_trees_that_are_refused(tree, paths, message):
    tree.add(*paths)
    with pytest.raises(DataError, match=message):
        read_dataset(tree.root)


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match=r"must hold images\. Got no file"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="a path that does not exist"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"unknown one \(files: 1\)"):
        read_dataset(tmp_path)


def test_unknown_reader_and_grouping(tree):
    tree.add("a/1.png", "b/1.png")
    with pytest.raises(ChironError, match=r"Got 'kermani'\. Did you mean 'kermany'"):
        read_dataset(tree.root, Layout(reader="kermani"))
    with pytest.raises(DataError, match=r"class_folders must offer the grouping .*Got 'cautious'"):
        read_dataset(tree.root, Layout(groups="cautious"))


def test_broken_images_are_named_and_kept(tree):
    tree.add("a/good.jpg", "a/cut.jpg", "b/good2.jpg")
    cut = (tree.root / "a/cut.jpg").read_bytes()
    tree.add_bytes("a/cut.jpg", cut[: len(cut) // 2])
    tree.add_bytes("b/empty.png", b"")
    tree.add_bytes("b/text.jpg", b"no picture")
    manifest = read_dataset(tree.root)
    broken = manifest.frame.filter(pl.col("status") == "unreadable")
    assert broken["path"].to_list() == ["a/cut.jpg", "b/empty.png", "b/text.jpg"]
    assert [reason.split(".")[1] for reason in broken["status_reason"]][1:] == [
        " Got 0 bytes in b/empty", " Got other content in b/text",
    ]  # fmt: skip
    assert broken["pixels_sha256"].null_count() == 3
    assert "Images that cannot be decoded: 3 (a/cut.jpg, b/empty.png, b/text.jpg)." in manifest.notes
    assert manifest.frame.height == 5


def test_equal_pixels_in_other_files_join_groups_and_equal_bytes_too(tree):
    tree.add("a/1.png", "a/2.bmp", seed=1)
    tree.add("a/3.png", "b/4.png")
    manifest = read_dataset(tree.root)
    groups, pixels = column(manifest, "group_id"), column(manifest, "pixels_sha256")
    assert groups["a/1.png"] == groups["a/2.bmp"] == "g-1"
    assert pixels["a/1.png"] == pixels["a/2.bmp"]
    assert column(manifest, "bytes_sha256")["a/1.png"] != column(manifest, "bytes_sha256")["a/2.bmp"]
    assert manifest.frame["group_id"].n_unique() == 3
    assert manifest.notes == ("Sets of images with identical pixels, which join groups: 1 (2 images).",)


def test_a_picture_with_two_labels_stops_the_reading_and_can_be_listed(tree):
    tree.add("a/1.png", "b/2.png", "b/3.png", seed=1)
    tree.add("a/4.png", "b/5.png", seed=2)
    tree.add("a/6.png", "a/7.png", seed=3)
    with pytest.raises(
        DataError, match=r"Got 2 with different ones.*a/1\.png \(a\) = b/2\.png \(b\) = b/3\.png \(b\); a/4\.png"
    ):
        read_dataset(tree.root)
    manifest = read_dataset(tree.root, conflicts="note")
    assert [str(conflict) for conflict in label_conflicts(manifest.frame)] == [
        "a/1.png (a) = b/2.png (b) = b/3.png (b)",
        "a/4.png (a) = b/5.png (b)",
    ]
    assert manifest.notes[-1] == "Identical images with different labels: a/4.png (a) = b/5.png (b)"


def test_several_labels_conflict_only_where_both_are_known():
    frame = pl.DataFrame(
        {"path": list("abcd"), "pixels_sha256": list("1122"), "label_x": [1, None, 1, 0], "label_y": [0, 0, 1, 1]}
    )
    assert [str(conflict) for conflict in label_conflicts(frame)] == ["c (x 1, y 1) = d (x 0, y 1)"]


KERMANY = [
    "train/PNEUMONIA/person7_bacteria_20.jpeg",
    "train/PNEUMONIA/person7_bacteria_21.jpeg",
    "train/PNEUMONIA/person7_virus_5.jpeg",
    "train/PNEUMONIA/person9_virus_6_1.jpeg",
    "train/NORMAL/IM-0011-0001.jpeg",
    "train/NORMAL/IM-0011-0001-0002.jpeg",
    "train/NORMAL/NORMAL2-IM-0011-0001.jpeg",
    "test/PNEUMONIA/person9_bacteria_40.jpeg",
    "test/NORMAL/NORMAL2-IM-1427-0001.jpeg",
]


def test_kermany_patients_come_from_file_names(tree):
    tree.add(*KERMANY)
    tree.add_bytes("metadata.csv", b"path,group_id\n")
    manifest = read_dataset(tree.root)
    assert manifest.reader == "kermany"
    assert list(column(manifest, "patient_id").items()) == [
        ("test/NORMAL/NORMAL2-IM-1427-0001.jpeg", "NORMAL-NORMAL2-IM-1427"),
        ("test/PNEUMONIA/person9_bacteria_40.jpeg", "PNEUMONIA-bacteria-9"),
        ("train/NORMAL/IM-0011-0001-0002.jpeg", "NORMAL-IM-11"),
        ("train/NORMAL/IM-0011-0001.jpeg", "NORMAL-IM-11"),
        ("train/NORMAL/NORMAL2-IM-0011-0001.jpeg", "NORMAL-NORMAL2-IM-11"),
        ("train/PNEUMONIA/person7_bacteria_20.jpeg", "PNEUMONIA-bacteria-7"),
        ("train/PNEUMONIA/person7_bacteria_21.jpeg", "PNEUMONIA-bacteria-7"),
        ("train/PNEUMONIA/person7_virus_5.jpeg", "PNEUMONIA-virus-7"),
        ("train/PNEUMONIA/person9_virus_6_1.jpeg", "PNEUMONIA-virus-9"),
    ]
    assert manifest.frame["group_id"].n_unique() == 7
    assert manifest.id_certainty == {"patient_id": "certain"}
    assert manifest.roles["etiology"] == "reference_standard"
    assert column(manifest, "sample_id")["test/PNEUMONIA/person9_bacteria_40.jpeg"] == "person9_bacteria_40"
    assert manifest.notes == (
        "Files that are no images are skipped: .csv 1.",
        "metadata.csv is not used: ids come from file names.",
        "2 of 2 person numbers are ambiguous: they stand for bacteria and for virus; 1 stand in train and in test, "
        "0 of them with the same etiology. They are taken as different persons.",
    )
    assert manifest.grouping == "Grouped by patient number within class and etiology, from file names."


def test_kermany_cautious_joins_bare_numbers_as_inferred(tree):
    tree.add(*KERMANY)
    manifest = read_dataset(tree.root, Layout(groups="cautious"))
    groups = column(manifest, "group_id")
    assert groups["train/PNEUMONIA/person7_virus_5.jpeg"] == groups["train/PNEUMONIA/person7_bacteria_20.jpeg"]
    assert groups["train/PNEUMONIA/person9_virus_6_1.jpeg"] == groups["test/PNEUMONIA/person9_bacteria_40.jpeg"]
    assert manifest.frame["group_id"].n_unique() == 5
    assert manifest.id_certainty == {"patient_id": "certain", "person_number": "inferred"}
    with pytest.raises(DataError, match=r"Got 'cautios'\. Did you mean 'cautious'"):
        read_dataset(tree.root, Layout(groups="cautios"))


def test_kermany_tiny_val_is_merged_into_train_and_a_larger_one_is_kept(tree):
    tree.add(*KERMANY, *[f"val/PNEUMONIA/person{n}_bacteria_{n}.jpeg" for n in range(100, 116)])
    manifest = read_dataset(tree.root)
    assert set(manifest.frame["split"]) == {"train", "test"}
    assert "The official val (16 images) is merged into train, from which a larger val is made." in manifest.notes
    tree.add("val/NORMAL/IM-9000-0001.jpeg")
    assert read_dataset(tree.root).frame.filter(pl.col("split") == "val").height == 17


def test_kermany_names_without_a_number_are_their_own_group_and_counted(tree):
    tree.add(*KERMANY, "train/NORMAL/scan.jpeg", "train/NORMAL/scan2.jpeg")
    manifest = read_dataset(tree.root)
    assert manifest.frame["group_id"].n_unique() == 9
    assert "Images without patient_id, each its own group: 2." in manifest.notes


def test_kermany_second_copy_inside_is_left_out(tree):
    tree.add(*KERMANY, *[f"chest_xray/{name}" for name in KERMANY])
    manifest = read_dataset(tree.root)
    assert manifest.frame.height == len(KERMANY)
    assert "A second copy of the data inside the data set is left out: 9 images." in manifest.notes


def test_kermany_in_a_zip_with_a_top_folder(tree, tmp_path):
    tree.add(*KERMANY)
    with zipfile.ZipFile(tmp_path / "k.zip", "w") as packed:
        for name in KERMANY:
            packed.write(tree.root / name, f"chest_xray/{name}")
    assert read_dataset(tmp_path / "k.zip").digest == read_dataset(tree.root).digest


def test_normal_and_pneumonia_folders_of_other_origin_are_class_folders(tree):
    tree.add("NORMAL/1.png", "NORMAL/2.png", "PNEUMONIA/3.png")
    assert read_dataset(tree.root).reader == "class_folders"


def save_npz(path: Path, **arrays: np.ndarray) -> Path:
    random = np.random.default_rng(5)
    base = {}
    for split, labels in {"train": [0, 1, 1], "val": [1, 0], "test": [0, 1]}.items():
        base[f"{split}_images"] = random.integers(0, 256, (len(labels), 6, 6), dtype=np.uint8)
        base[f"{split}_labels"] = np.array(labels, np.uint8)[:, None]
    np.savez(path, **(base | arrays))
    return path


def test_medmnist_with_known_label_names(tmp_path):
    manifest = read_dataset(save_npz(tmp_path / "pneumoniamnist_64.npz"))
    assert manifest.reader == "medmnist"
    assert manifest.classes == ("normal", "pneumonia")
    rows = manifest.frame.select("sample_id", "path", "split", "label").rows()
    assert rows[1] == ("train-00001", "train#1", "train", "pneumonia")
    assert rows[4] == ("val-00001", "val#1", "val", "normal")
    assert "patients unknown, so intervals may still be too narrow" in manifest.grouping
    assert not manifest.id_certainty


def test_medmnist_classes_keep_the_order_of_their_numbers(tmp_path):
    labels = {"train_labels": np.arange(9, 12)[:, None]}
    manifest = read_dataset(save_npz(tmp_path / "own.npz", **labels))
    assert manifest.classes == tuple(map(str, range(12)))
    np.testing.assert_array_equal(manifest.labels[:3], [9, 10, 11])


def test_medmnist_with_ids_is_grouped_by_them(tmp_path):
    extra = {
        "train_image_ids": np.array(["i1", "i2", "i3"]), "val_image_ids": np.array(["i4", "i5"]),
        "test_image_ids": np.array(["i6", "i7"]), "train_lesion_ids": np.array(["L1", "L1", ""]),
        "test_lesion_ids": np.array(["L1", "L2"]), "train_masks": np.zeros(3),
    }  # fmt: skip
    manifest = read_dataset(save_npz(tmp_path / "own.npz", **extra))
    assert manifest.frame["sample_id"].to_list() == ["i1", "i2", "i3", "i4", "i5", "i6", "i7"]
    assert manifest.frame["group_id"].to_list() == ["g-i1", "g-i1", "g-i3", "g-i4", "g-i5", "g-i1", "g-i7"]
    assert manifest.id_certainty == {"unit_id": "certain"}
    assert manifest.grouping == "Grouped by lesion; patients unknown, so intervals may still be too narrow."
    assert manifest.notes == (
        "Arrays that are not used: train_masks.",
        "Images without unit_id, each its own group: 3.",
    )


def test_medmnist_with_several_labels(tmp_path):
    labels = {f"{split}_labels": np.eye(3, dtype=np.uint8)[:n] for split, n in (("train", 3), ("val", 2), ("test", 2))}
    manifest = read_dataset(save_npz(tmp_path / "chest.npz", **labels))
    assert manifest.is_multi_label
    np.testing.assert_array_equal(manifest.labels[:3], np.eye(3))


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("pneumoniamnist", {"val_labels": np.array([0, 2])}, r"known classes \(normal, pneumonia\). Got 0 to 2"),
        ("own", {"val_labels": np.array([0, 1, 1])}, r"val_labels must be .*\(2\). Got int64 of shape \(3,\)"),
        ("own", {"val_labels": np.array([0.0, 1.0])}, "must be whole numbers.*Got float64"),
        ("own", {"train_lesion_ids": np.array(["1"])}, r"one id an image \(3\). Got shape \(1,\)"),
        ("own", {"train_images": np.zeros((3, 4, 4, 4), np.uint8)[..., None]}, "Volumes are not read"),
    ],
)
def test_medmnist_arrays_that_are_refused(tmp_path, name, arrays, message):
    with pytest.raises(DataError, match=message):
        read_dataset(save_npz(tmp_path / f"{name}.npz", **arrays))


def test_an_npz_without_labels_fits_no_reader(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match="Got an unknown one"):
        read_dataset(tmp_path / "x.npz")


def test_a_written_manifest_reads_as_the_data_set(tree, tmp_path):
    tree.add(*KERMANY)
    manifest = read_dataset(tree.root, Layout(groups="cautious"))
    manifest.save(tmp_path / "m")
    again = read_dataset(tmp_path / "m")
    assert again.frame.equals(manifest.frame)
    assert (again.notes, again.reader, again.id_certainty) == (manifest.notes, "kermany", manifest.id_certainty)
    with pytest.raises(DataError, match="keeps its groups"):
        read_dataset(tmp_path / "m", Layout(groups="cautious"))
    tree.add(KERMANY[0])  # other pixels under the same name
    with pytest.raises(DataError, match=r"Got 1 with other pixels: train/PNEUMONIA/person7_bacteria_20\.jpeg"):
        read_dataset(tmp_path / "m")
    (tree.root / KERMANY[0]).unlink()
    with pytest.raises(DataError, match=r"Got 1 that are not: train/PNEUMONIA/person7_bacteria_20\.jpeg"):
        read_dataset(tmp_path / "m")


def test_groups_of_a_table_made_by_hand_count(tree):
    tree.add("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    rows = ["sample_id,path,label,group_id", "1,a/1.png,x,A", "2,a/2.png,x,A", "3,b/3.png,y,B", "4,b/4.png,y,C"]
    (tree.root / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    assert read_dataset(tree.root).frame["group_id"].to_list() == ["g-1", "g-1", "g-3", "g-4"]


def test_patients_filled_in_after_a_split_join_groups_and_are_searched_for_leaks(tree, tmp_path):
    tree.add("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    read_dataset(tree.root).with_splits({"1": "train", "2": "test", "3": "train", "4": "test"}).save(tmp_path / "m")
    table = pl.read_csv(tmp_path / "m" / "manifest.csv", infer_schema=False)
    table.with_columns(pl.Series("patient_id", ["p", "p", "q", None])).write_csv(tmp_path / "m" / "manifest.csv")
    manifest = read_dataset(tmp_path / "m")
    assert manifest.frame["group_id"].to_list() == ["g-1", "g-1", "g-3", "g-4"]
    assert manifest.grouping == "Grouped by patient_id of the table."
    assert [(pair.kind, pair.name) for pair in find_leaks(manifest).leaks] == [("same patient_id", "1~2")]


def test_the_same_picture_in_gray_and_color_and_in_more_bits_is_one(tree):
    gray = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    tree.add("train/a/1.png", "train/b/2.png", "test/b/3.png", "test/a/4.png", "test/a/5.png")
    Image.fromarray(gray).save(tree.root / "train/a/1.png")
    Image.fromarray(gray).convert("RGB").save(tree.root / "test/a/4.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tree.root / "test/a/5.png")
    assert [pair.name for pair in find_leaks(read_dataset(tree.root)).leaks] == ["1~4"]
    assert read_dataset(tree.root).frame["pixels_sha256"].n_unique() == 3


@pytest.mark.parametrize("name", ['of "b"', "b\nc", "a "])
def test_class_folders_that_cannot_be_headers_or_be_told_apart_are_refused(tree, name):
    tree.add("a/1.png", f"{name}/2.png")
    with pytest.raises(DataError, match=r"Class names must (hold no double quote and no line break|differ by more)"):
        read_dataset(tree.root)
    tree.add(*KERMANY, f"train/{name}/2.png")
    with pytest.raises(DataError, match=r"Class names must hold|Class folders must be NORMAL and PNEUMONIA"):
        read_dataset(tree.root / "train", Layout(reader="kermany"))


def test_a_class_of_one_letter_and_a_colon_is_no_drive(tree):
    tree.add("x: y/1.png", "b/2.png")
    manifest = read_dataset(tree.root)
    assert (manifest.classes, manifest.frame["status"].to_list()) == (("b", "x: y"), ["ok", "ok"])


def test_folders_of_trainings_inside_the_data_are_no_data_and_told(tree):
    tree.add("a/1.png", "b/2.png", "runs/one/figures/roc.png", "runs/two/figures/roc.png", "b/three/4.png")
    for run in ("runs/one", "runs/two"):
        tree.add_bytes(f"{run}/run.json", b"{}")
        tree.add_bytes(f"{run}/recipe.yaml", b"")
    tree.add_bytes("b/three/run.json", b"{}")  # one of the two alone says nothing
    manifest = read_dataset(tree.root)
    assert manifest.frame["path"].to_list() == ["a/1.png", "b/2.png", "b/three/4.png"]
    assert manifest.notes[0] == "Folders of trainings inside the data are skipped: 2 (runs/one, runs/two)."


def test_columns_that_look_like_ids_but_are_not_used_are_named(tree):
    tree.add("a/1.png", "b/2.png")
    rows = ["sample_id,path,label,lesion_id,PatientID,age,case,subject", "1,a/1.png,x,l,p,3,c,", "2,b/2.png,y,l,q,4,c,"]
    (tree.root / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    manifest = read_dataset(tree.root)
    (told,) = manifest.notes
    assert told.startswith("Columns that look like ids are carried and not used: lesion_id, PatientID. Name it with")
    assert "patient_id or unit_id" in told
    manifest.save(tree.root)
    assert read_dataset(tree.root).notes == (told,)
    table = (tree.root / "manifest.csv").read_text(encoding="utf-8").replace("lesion_id", "lesion")
    (tree.root / "manifest.csv").write_text(table.replace("PatientID", "shape"), encoding="utf-8")
    assert "not used: lesion. Name it" in read_dataset(tree.root).notes[0]
