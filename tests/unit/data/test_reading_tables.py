"""Data sets that come with tables: HAM10000, ISIC, any CSV; and Roboflow's export."""

import unicodedata
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chiron.audit.leaks import find_leaks
from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.data.readers._images import ImageIndex, find_images
from chiron.data.readers._labels import find_labels, read_labels
from chiron.data.reading import read_dataset
from chiron.data.tables import read_table
from chiron.spec.layout import Layout

HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization"
ALONE = Layout(table_only=True)


class Place:
    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        root.mkdir()

    def images(self, *paths: str) -> "Place":
        for path in paths:
            self.count += 1
            pixels = np.random.default_rng(self.count).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(self.root / path)
        return self

    def table(self, name: str, *lines: str) -> Path:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self.root / name


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path / "data")


def rows(manifest: Manifest, *columns: str) -> list[tuple]:
    return list(manifest.frame.select(*columns).iter_rows())


# HAM10000


def ham(place: Place, *, name: str = "HAM10000_metadata.csv", separator: str = ",") -> Place:
    lines = [HAM, "HAM_1,ISIC_1,mel,histo,80.0,male,back", "HAM_1,ISIC_2,mel,histo,80.0,male,back",
             "HAM_2,ISIC_3,nv,follow_up,,unknown,face", "HAM_3,ISIC_4,nv,consensus,35.0,female,face"]  # fmt: skip
    place.table(name, *[line.replace(",", separator) for line in lines])
    return place.images("HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_1/ISIC_2.jpg",
                        "HAM10000_images_part_2/ISIC_3.jpg", "HAM10000_images_part_2/ISIC_4.jpg")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "separator"), [("HAM10000_metadata.csv", ","), ("metadata.csv", ","), ("HAM10000_metadata.tab", "\t")]
)
def test_ham10000_is_grouped_by_lesion_and_its_columns_have_roles(place, name, separator):
    manifest = read_dataset(ham(place, name=name, separator=separator).root)
    assert manifest.reader == "ham10000"
    assert manifest.classes == ("mel", "nv")
    assert rows(manifest, "sample_id", "unit_id", "group_id", "label") == [
        ("ISIC_1", "HAM_1", "g-ISIC_1", "mel"), ("ISIC_2", "HAM_1", "g-ISIC_1", "mel"),
        ("ISIC_3", "HAM_2", "g-ISIC_3", "nv"), ("ISIC_4", "HAM_3", "g-ISIC_4", "nv"),
    ]  # fmt: skip
    assert manifest.frame["path"][2] == "HAM10000_images_part_2/ISIC_3.jpg"
    assert manifest.roles == {
        "dx_type": "reference_standard", "age": "predictor", "sex": "predictor", "localization": "predictor",
    }  # fmt: skip
    assert manifest.id_certainty == {"unit_id": "certain"}
    assert manifest.grouping == "Grouped by lesion; patients unknown, so intervals may still be too narrow."
    assert "Lesions: 3." in manifest.notes
    assert manifest.frame["age"].to_list() == ["80.0", "80.0", None, "35.0"]


def test_ham10000_refuses_a_diagnosis_that_is_none_of_the_seven(place):
    ham(place).table("HAM10000_metadata.csv", HAM, "HAM_1,ISIC_1,mel,,,,", "HAM_2,ISIC_3,nev,,,,")
    with pytest.raises(DataError, match=r"Got 'nev' in line 3 of HAM10000_metadata\.csv\. Did you mean 'nv'"):
        read_dataset(place.root)


# Tables of labels


def test_names_integers_and_one_hot_say_the_same(place):
    place.images("a.jpg", "b.jpg", "c.jpg")
    place.table("named.csv", "image,label", "a,mel", "b,nv", "c,mel")
    place.table("whole.csv", "image_id,label", "a.jpg,0", "b.jpg,1.0", "c.jpg,0")
    place.table("onehot.csv", "filename,mel,nv,UNK", "a,1.0,0.0,0.0", "b,0,1,0", "c,1,0,0.0")
    read = {name: read_dataset(place.root / f"{name}.csv") for name in ("named", "whole", "onehot")}
    assert {name: manifest.classes for name, manifest in read.items()} == {
        "named": ("mel", "nv"), "whole": ("0", "1"), "onehot": ("mel", "nv"),
    }  # fmt: skip
    assert [manifest.labels.tolist() for manifest in read.values()] == [[0, 1, 0]] * 3
    assert all(manifest.frame["path"].to_list() == ["a.jpg", "b.jpg", "c.jpg"] for manifest in read.values())
    assert read["onehot"].frame["sample_id"].to_list() == ["a", "b", "c"]


def test_one_hot_classes_keep_the_order_of_their_columns_and_may_be_a_subset(place):
    table = place.table("gt.csv", "image,VASC,MEL,UNK", "a,1,0,0", "b,0,1,0", "c,0,0,1")
    manifest = read_dataset(table, ALONE)
    assert manifest.classes == ("VASC", "MEL")
    assert manifest.frame["label"].to_list() == ["VASC", "MEL", None]
    assert any(note.startswith("Images without a known class: 1.") for note in manifest.notes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b,0,0,0", r"Got 1 with no class at all \(only zeros\): line 3 of gt\.csv"),
        ("b,1,1,0", r"Got 1 with several classes: line 3 of gt\.csv"),
        ("b,1,0,1", r"Got 1 with several classes: line 3 of gt\.csv"),
        ("b,0.5,0.5,0", r"neither 0 nor 1 \(shares and ties name no class\): line 3 of gt\.csv"),
        ("b,,1,0", r"neither 0 nor 1 .*: line 3 of gt\.csv"),
    ],
    ids=["zero", "double", "class and unknown", "tied", "blank"],
)
def test_one_hot_rows_that_name_no_single_class_are_refused_by_line(place, line, message):
    table = place.table("gt.csv", "image,MEL,NV,UNK", "a,1,0,0", line, "c,0,1,0", "d,0,1,0")
    with pytest.raises(DataError, match=message):
        read_dataset(table, ALONE)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_one_hot_reads_as_the_naive_argmax(places):
    names = ["e", "d", "c", "b", "a"]
    ones = [["1" if k == place else "0" for k in range(5)] for place in places]
    body = "\n".join(f"{row},{','.join(cells)}" for row, cells in enumerate(ones))
    table = read_table(f"image,{','.join(names)}\n{body}\n".encode(), "t.csv")
    labels = find_labels(table)
    assert labels is not None
    [[column]], classes, told = read_labels([(table, labels)])
    assert (column.to_list(), classes, told) == ([names[place] for place in places], tuple(names), [])


def test_integers_leave_no_gap_and_blank_labels_are_counted(place):
    table = place.table("t.csv", "image,label", "a,10", "b,0", "c,")
    manifest = read_dataset(table, ALONE)
    assert manifest.classes == tuple(map(str, range(11)))
    assert manifest.labels.tolist() == [10, 0, -1]


def test_metadata_is_joined_by_image_id_and_a_blank_lesion_is_its_own_group(place):
    place.table("gt.csv", "image,MEL,NV", *[f"i{k},{k % 2},{1 - k % 2}" for k in range(5)])
    place.table("meta.csv", "image,lesion_id,age_approx", "i0,L1,55", "i2,L1,55", "i1,,40", "i3,,30", "x,L9,1")
    manifest = read_dataset(place.root / "gt.csv", Layout(metadata=place.root / "meta.csv", table_only=True))
    assert manifest.frame["group_id"].to_list() == ["g-i0", "g-i1", "g-i0", "g-i3", "g-i4"]
    assert manifest.frame["age_approx"].to_list() == ["55", "40", "55", "30", None]
    told = " ".join(manifest.notes)
    for part in ("Lesions: 1; 3 images without one.", "Images that meta.csv does not name: 1.",
                 "Rows of meta.csv about other images: 1.",
                 "Images without unit_id, each its own group: 3."):  # fmt: skip
        assert part in told
    assert read_dataset(place.root, ALONE).frame.equals(manifest.frame)  # a folder says it all itself


def test_tables_named_by_split_are_the_splits(place):
    place.images("images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg")
    head = "image_id,label,lesion_id,patient_id,group_id,path"
    place.table("train_split.csv", head, "a,x,L1,,g-a,images/a.jpg", "b,y,,,g-b,images/b.jpg")
    place.table("val_split.csv", head, "c,x,,,g-c,images/c.jpg")
    place.table("test_split.csv", head, "d,y,L2,,g-d,images/d.jpg")
    manifest = read_dataset(place.root)
    assert rows(manifest, "sample_id", "split", "label", "unit_id") == [
        ("d", "test", "y", "L2"), ("a", "train", "x", "L1"), ("b", "train", "y", None), ("c", "val", "x", None),
    ]  # fmt: skip
    assert manifest.frame["group_id"].n_unique() == 4
    place.table("test_split.csv", head, "a,x,L1,,g-a,images/a.jpg")
    with pytest.raises(DataError, match=r"Got a in line 2 of test_split\.csv and line 2 of train_split\.csv"):
        read_dataset(place.root)


def test_a_shared_lesion_across_split_tables_is_a_leak(place):
    place.table("train.csv", "image,label,lesion_id", "a,x,L1", "b,y,L2")
    place.table("test.csv", "image,label,lesion_id", "c,x,L1", "d,y,L3")
    found = find_leaks(read_dataset(place.root, ALONE))
    assert [(pair.kind, pair.name) for pair in found.leaks] == [("same unit_id", "a~c")]


def test_a_split_column_counts_and_a_strange_one_is_refused(place):
    table = place.table("t.csv", "image,label,split", "a,x,Train", "b,y,valid", "c,x,")
    assert read_dataset(table, ALONE).frame["split"].to_list() == ["train", "val", None]
    place.table("t.csv", "image,label,split", "a,x,train", "b,y,holdout")
    with pytest.raises(DataError, match=r"Got 'holdout' in line 3 of t\.csv"):
        read_dataset(table, ALONE)


def test_columns_that_a_manifest_fills_in_itself_are_carried_under_another_name(place):
    place.images("a.jpg", "b.jpg", "c.jpg")
    table = place.table("t.csv", "image,dx,status,sample_id,group_id", "a,x,benign,7,G", "b,y,malignant,7,G", "c,x,,,")
    manifest = read_dataset(table)
    assert manifest.frame["status_given"].to_list() == ["benign", "malignant", None]
    assert manifest.frame["sample_id_given"].to_list() == ["7", "7", None]
    assert manifest.frame["group_id"].to_list() == ["g-a", "g-a", "g-c"]
    assert set(manifest.frame["status"]) == {"ok"}


def test_a_path_column_finds_what_an_id_alone_does_not(place):
    place.images("one/a.jpg", "two/a.jpg")
    manifest = read_dataset(place.table("t.csv", "image_id,label,path", "1,x,one/a.jpg", "2,y,two/a.jpg"))
    assert rows(manifest, "sample_id", "path") == [("1", "one/a.jpg"), ("2", "two/a.jpg")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,label", "a,x", "b,y", "a,x"], r"Got a in lines 2, 4 of t\.csv\. Remove"),
        (["image,label", "a,x", ",y"], r"must name its image\. Got none in line 3 of t\.csv"),
        (["image,label", "a,x", "b,x"], "at least two classes. Got one: x"),
        (["image,label", "a,x", "b,X"], "Class names must differ by more than case"),
        (["image,label", "a,", "b,"], "Got no label at all in t.csv"),
        (["picture,label", "a,x", "b,y"], r"a column that names the images \(image, .*Got picture, label in t\.csv"),
        (["image,age", "a,50", "b,60"], r"a column of classes \(label, .*Got image, age in t\.csv"),
    ],
    ids=["duplicate", "no id", "one class", "case", "no label", "no image column", "no label column"],
)
def test_tables_that_are_refused(place, lines, message):
    with pytest.raises(DataError, match=message):
        read_dataset(place.table("t.csv", *lines), ALONE)


def test_two_tables_of_labels_need_a_choice(place):
    place.images("a.jpg", "b.jpg")
    for name in ("one.csv", "two.csv"):
        place.table(name, "image,label", "a,x", "b,y")
    with pytest.raises(DataError, match=r"one table of labels, or one a split .*Got one\.csv, two\.csv"):
        read_dataset(place.root)
    assert read_dataset(place.root / "two.csv").frame.height == 2


CELLS = st.sampled_from(["", "0", "1", "0.5", "x", "nan", "-1", "a", "ü"])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_any_cells_are_read_or_refused_in_one_sentence(tmp_path_factory, cells):
    place = Place(tmp_path_factory.mktemp("cells") / "data")
    for head in ("image,label,split,lesion_id", "image,MEL,NV,UNK", "image,MEL,NV,patient_id"):
        table = place.table("t.csv", head, *[",".join(row) for row in cells])
        with suppress(DataError):
            assert read_dataset(table, ALONE).frame.height == sum(any(row) for row in cells)


# Images of a table


def test_missing_images_stay_in_the_table_and_are_counted(place):
    place.images("img/a.jpg", "img/b.jpg", "img/stranger.jpg")
    manifest = read_dataset(place.table("t.csv", "image,label", "a,x", "b,y", "../c,x"))
    assert rows(manifest, "sample_id", "path", "status") == [
        ("a", "img/a.jpg", "ok"), ("b", "img/b.jpg", "ok"), ("c", "c.jpg", "unreadable"),
    ]  # fmt: skip
    assert "Images that a table names and that are not there: 1 (../c)." in manifest.notes
    assert "Images that no table names are left out: 1." in manifest.notes
    manifest.save(place.root / "m")
    assert read_dataset(place.root / "m").frame.equals(manifest.frame)


def test_no_image_at_all_says_what_to_do(place):
    table = place.table("t.csv", "image,label", "a,x", "b,y")
    with pytest.raises(DataError, match=r"Got none of 2 \(first: a\) among 0 images there\. Say where .*--images"):
        read_dataset(table)
    with pytest.raises(DataError, match=r"--table-only reads tables\. Got none"):
        read_dataset(place.images("other/x/1.jpg").root / "other", ALONE)


def test_images_may_lie_elsewhere(place, tmp_path):
    other = Place(tmp_path / "pictures").images("deep/a.png", "deep/b.png")
    manifest = read_dataset(place.table("t.csv", "image,label", "a.jpg,x", "b.jpg,y"), Layout(images=other.root))
    assert manifest.root == other.root
    assert read_dataset(place.root, Layout(images=other.root)).frame.equals(manifest.frame)  # a folder of tables
    with pytest.raises(DataError, match=r"--images belongs to a table of labels\. Got no table"):
        read_dataset(other.root, Layout(images=other.root))
    assert manifest.frame["path"].to_list() == ["deep/a.png", "deep/b.png"]


def test_spaces_unicode_and_very_long_names(place):
    long = "m" * 200
    written, stored = (unicodedata.normalize(form, "é 肺.png") for form in ("NFC", "NFD"))
    place.images("Bild 1 ä.png", f"tief/{stored}", f"{long}.png")
    table = place.table("Tabelle ü.csv", "image,label", "Bild 1 ä,x", f"{written},y", f"{long},x")
    manifest = read_dataset(table)
    assert set(manifest.frame["status"]) == {"ok"}
    assert manifest.frame["sample_id"][2] == long


@pytest.mark.parametrize(
    ("name", "images", "expected"),
    [
        ("x", ["a/x.png"], "a/x.png"),
        ("a/x.png", ["a/x.png", "b/x.png"], "a/x.png"),
        ("a/x", ["top/a/x.png", "top/b/x.png"], "top/a/x.png"),
        ("C:\\data\\a\\x.png", ["x.png"], "x.png"),
        ("x.jpg", ["x.png"], "x.png"),
        ("x.jpg", ["x.jpg", "sub/x.png"], "x.jpg"),
        ("x.v2", ["x.v2.png"], "x.v2.png"),
        ("y", ["x.png"], None),
        ("IM0.PNG", ["im0.png"], "im0.png"),
        ("a", ["a.png", "A.png"], "a.png"),
        ("site_a/x.png", ["site_b/x.png"], None),
        ("set/x.png", ["x.png"], "x.png"),
        ("/home/me/here/a/x.png", ["a/x.png"], "a/x.png"),
        ("/home/me/here/x.png", ["a/x.png"], None),
        ("/data/set/a/x.png", ["a/x.png", "b/x.png"], "a/x.png"),
    ],
)
def test_an_image_is_found_by_path_name_or_stem(name, images, expected):
    assert find_images([name], ImageIndex(images, Path("/data/set")))[0] == [expected]


def test_an_id_that_fits_two_images_and_two_ids_of_one_image_are_refused():
    with pytest.raises(DataError, match=r"must fit one file\. Got 'x', which fits a/x\.png, b/x\.png"):
        find_images(["x"], ImageIndex(["a/x.png", "b/x.png"], Path("/data")))
    with pytest.raises(DataError, match=r"Got x\.jpg, x for x\.jpg"):
        find_images(["x.jpg", "x"], ImageIndex(["x.jpg"], Path("/data")))


def test_class_folders_with_a_table_of_something_else_stay_class_folders(place):
    place.images("a/1.png", "b/2.png").table("visits.csv", "image,label", "other,x", "another,y")
    place.table("broken.csv", "image,label", "x,y,z")
    assert read_dataset(place.root).reader == "class_folders"


def test_a_folder_that_an_id_states_must_be_the_image_s_own(place):
    place.images("site_b/0.png", "site_b/1.png", "masks/2.png", "3.jpg", "4.jpg")
    table = place.table("t.csv", "image,label", "site_a/0.png,x", "site_b/1.png,y", "2.jpg,x", "3.jpg,y", "4.jpg,x")
    manifest = read_dataset(table)
    assert dict(rows(manifest, "sample_id", "status")) == {
        "0": "unreadable", "1": "ok", "2": "unreadable", "3": "ok", "4": "ok",
    }  # fmt: skip
    assert "Images that a table names and that are not there: 2 (site_a/0.png, 2.jpg)." in manifest.notes


def test_another_ending_is_told_and_counts_only_for_all(place):
    place.images("a.png", "b.png")
    manifest = read_dataset(place.table("t.csv", "image,label", "a.jpg,x", "b.jpg,y"))
    assert set(manifest.frame["status"]) == {"ok"}
    assert "Images with another ending than in the table: 2 (such as a.png)." in manifest.notes


def test_an_id_and_a_path_that_name_two_images_are_refused(place):
    place.images("a.png", "b.png")
    table = place.table("t.csv", "image_id,path,label", "a,b.png,x", "b,a.png,y")
    with pytest.raises(DataError, match=r"must name one image\. Got a and b\.png in line 2 of t\.csv"):
        read_dataset(table)


def test_the_column_that_names_the_images_is_the_image_column(place):
    place.images("a.png", "b.png")
    manifest = read_dataset(place.table("t.csv", "image,filename,label", "0,a.png,x", "1,b.png,y"))
    assert rows(manifest, "sample_id", "path") == [("a", "a.png"), ("b", "b.png")]


def test_folders_called_like_the_classes_must_say_the_same(place):
    place.images("well/a.png", "sick/b.png")
    table = place.table("t.csv", "image,label", "a,sick", "b,well")
    with pytest.raises(DataError, match=r"Got 2 images that the table calls otherwise: well/a\.png, sick/b\.png"):
        read_dataset(table)


# Patients, lesions and splits of several tables


def test_the_first_filled_column_of_a_kind_counts(place):
    table = place.table("t.csv", "image,label,patient_id,patient,subject", "a,x,,P1,S1", "b,y,unknown,P1,S2")
    manifest = read_dataset(table, ALONE)
    assert manifest.frame["patient_id"].to_list() == ["P1", "P1"]
    assert "Patients of t.csv come from patient; not used: subject." in manifest.notes


def test_tables_of_splits_may_call_their_patients_otherwise(place):
    place.table("train.csv", "image,label,patient_id", "a,x,P1", "b,y,P2")
    place.table("test.csv", "image,label,Patient", "c,x,P1", "d,y,P3")
    assert [pair.name for pair in find_leaks(read_dataset(place.root, ALONE)).leaks] == ["a~c"]
    place.table("test.csv", "image,dx,Patient", "c,x,P1", "d,y,P3")
    with pytest.raises(DataError, match=r"same label columns\. Got test\.csv: dx; train\.csv: label"):
        read_dataset(place.root, ALONE)


def test_halves_of_metadata_fill_each_other_and_must_not_contradict(place):
    place.table("labels.csv", "image,label,patient_id", "a,x,", "b,y,", "c,x,P9")
    place.table("meta1.csv", "image,patient_id", "a.jpg,P1")
    place.table("meta2.csv", "image,patient_id,split", "b.png,P1,test", "c,P9,train")
    manifest = read_dataset(place.root, ALONE)
    assert manifest.frame["patient_id"].to_list() == ["P1", "P1", "P9"]
    assert manifest.frame["split"].to_list() == [None, "test", "train"]
    place.table("meta2.csv", "image,patient_id", "b,P1", "c,P8")
    with pytest.raises(DataError, match=r"Got patient_id 'P9' and 'P8' \(in meta2\.csv\) for c"):
        read_dataset(place.root, ALONE)


def test_ids_and_classes_that_say_not_known_are_blank(place):
    table = place.table("t.csv", "image,label,patient_id", "a,x,unknown", "b,y,N/A", "c,nan,-", "d,x,P1")
    manifest = read_dataset(table, ALONE)
    assert manifest.frame["patient_id"].to_list() == [None, None, None, "P1"]
    assert (manifest.classes, manifest.frame["label"][2]) == (("x", "y"), None)
    assert "Patients of t.csv come from patient_id; 3 cells say that it is not known." in manifest.notes


def test_lesions_numbered_within_each_patient_stay_apart(place):
    lines = [f"{patient}{lesion}{k},x,{patient},{lesion}" for patient in "PQ" for lesion in "12" for k in "ab"]
    table = place.table("t.csv", "image,label,patient_id,lesion_id", *lines, "z,y,R,1")
    manifest = read_dataset(table, ALONE)
    assert manifest.frame["group_id"].n_unique() == 3
    assert manifest.frame["unit_id"].n_unique() == 5
    assert any(note.startswith("Lesion ids start anew with each patient (2 are shared)") for note in manifest.notes)


def test_columns_of_people_are_no_classes_and_the_rivals_of_a_label_column_are_told(place):
    table = place.table("t.csv", "image,malignant,benign,male", "a,1,0,1", "b,0,1,0")
    assert read_dataset(table, ALONE).classes == ("malignant", "benign")
    table = place.table("t.csv", "image,target,diagnosis", "a,0,unknown", "b,1,melanoma", "c,1,nevus")
    manifest = read_dataset(table, ALONE)
    assert manifest.frame["label"].to_list() == [None, "melanoma", "nevus"]
    assert "Classes of t.csv come from the column diagnosis; not used: target." in manifest.notes


def test_a_table_named_as_metadata_is_never_one_of_labels(place):
    place.table("gt.csv", "image,MEL,NV", "a,1,0", "b,0,1")
    meta = place.table("meta.csv", "image,smoker,diabetes", "a,1,0", "b,0,1")
    manifest = read_dataset(place.root / "gt.csv", Layout(metadata=meta, table_only=True))
    assert manifest.classes == ("MEL", "NV")
    assert manifest.frame["smoker"].to_list() == ["1", "0"]


def test_tables_alone_are_joined_also_where_images_are_there(place):
    place.images("a.png", "b.png")
    meta = place.table("meta.csv", "image,patient_id", "a.png,P", "b,P")
    table = place.table("gt.csv", "image,label", "a,x", "b.png,y")
    manifest = read_dataset(table, Layout(metadata=meta, table_only=True))
    assert manifest.frame["patient_id"].to_list() == ["P", "P"]


def test_folders_of_ids_are_passed_over_only_where_one_table_has_none(place):
    meta = place.table("meta.csv", "image,patient_id", "000,P", "001,Q")
    table = place.table("gt.csv", "image,label", "site_a/000.png,x", "site_a/001.png,y")
    layout = Layout(metadata=meta, table_only=True)
    assert read_dataset(table, layout).frame["patient_id"].to_list() == ["P", "Q"]
    place.table("meta.csv", "image,patient_id", "site_b/000,P", "site_b/001,Q")
    with pytest.raises(DataError, match="must speak of the same images"):
        read_dataset(table, layout)


def test_tables_beside_the_named_one_are_told(place):
    place.table("meta.csv", "image,lesion_id", "a,L1", "b,L1")
    manifest = read_dataset(place.table("gt.csv", "image,label", "a,x", "b,y"), ALONE)
    assert "Tables beside it that are not read: meta.csv. Join one with --metadata." in manifest.notes


def test_whole_numbers_may_start_at_one(place):
    manifest = read_dataset(place.table("t.csv", "image,label", "a,01", "b,02", "c,1"), ALONE)
    assert manifest.classes == ("1", "2")
    assert manifest.with_class_names(("benign", "malignant")).frame["label"].to_list() == [
        "benign", "malignant", "benign",
    ]  # fmt: skip


def test_a_patient_table_joins_class_folders(place):
    place.images("x/1.png", "x/2.png", "y/3.png")
    place.table("patients.csv", "image,patient", "1,P", "3.png,P", "x/2.png,Q")
    manifest = read_dataset(place.root)
    assert manifest.reader == "class_folders"
    assert dict(rows(manifest, "sample_id", "group_id")) == {"1": "g-1", "2": "g-2", "3": "g-1"}
    assert manifest.grouping == "Grouped by patient."


def test_id_columns_that_are_not_used_are_told_at_once(place):
    manifest = read_dataset(place.table("t.csv", "image,label,person_id", "a,x,P", "b,y,P"), ALONE)
    assert any(
        note.startswith("Columns that look like ids are carried and not used: person_id") for note in manifest.notes
    )


def test_a_split_of_a_table_alone_finds_its_images_later(place):
    table = place.table("t.csv", "image,label", "p0/img,x", "p1/img,y", "c,x")
    read_dataset(table, ALONE).save(place.root / "m")
    place.images("p0/img.png", "p1/img.png", "part_1/c.jpg")
    manifest = read_dataset(place.root / "m")
    assert manifest.frame["path"].to_list() == ["p0/img.png", "p1/img.png", "part_1/c.jpg"]
    assert not any("not looked at" in note for note in manifest.notes)


# Grouping by further columns


def test_group_by_any_column_joins_and_is_searched_for_leaks(place):
    head = "image,label,site,lesion_id,split"
    table = place.table("t.csv", head, "a,x,S1,L1,train", "b,y,S2,L2,train", "c,x,S1,L3,test")
    assert find_leaks(read_dataset(table, ALONE)).leaks == ()
    manifest = read_dataset(table, Layout(table_only=True, group_by=("site", "lesion_id")))
    assert manifest.frame["group_id"].to_list() == ["g-a", "g-b", "g-a"]
    assert manifest.grouping.endswith("intervals may still be too narrow; also by site, as asked for.")
    assert [pair.kind for pair in find_leaks(manifest).leaks] == ["same site"]
    with pytest.raises(DataError, match=r"must be one of unit_id, site\. Got 'sites'\. Did you mean 'site'"):
        read_dataset(table, Layout(table_only=True, group_by=("sites",)))


def test_a_manifest_can_be_grouped_further_and_keeps_the_rest(place):
    place.images("a.png", "b.png")
    place.table("manifest.csv", "sample_id,path,label,ward", "1,a.png,x,W", "2,b.png,y,W")
    assert read_dataset(place.root, Layout(group_by=("ward",))).frame["group_id"].n_unique() == 1
    for layout, option in ((ALONE, "--table-only"), (Layout(metadata=place.root / "x.csv"), "--metadata")):
        with pytest.raises(DataError, match=f"read as it is. Got {option}"):
            read_dataset(place.root, layout)


# Roboflow


def test_roboflow_copies_of_a_source_are_one_group(place):
    one, other = "3f" * 16, "4a" * 16
    place.images(f"train/x/lesion 1_jpg.rf.{one}.jpg", f"train/x/lesion 1_jpg.rf.{other}.jpg",
                 f"train/y/2_jpg.rf.{one}.jpg", f"valid/x/3_jpg.rf.{one}.jpg",
                 f"test/y/4_jpg.rf.{one}.jpg")  # fmt: skip
    place.table("README.roboflow.txt", "x")
    manifest = read_dataset(place.root)
    assert (manifest.reader, manifest.classes) == ("roboflow", ("x", "y"))
    groups = dict(rows(manifest, "path", "group_id"))
    assert groups[f"train/x/lesion 1_jpg.rf.{one}.jpg"] == groups[f"train/x/lesion 1_jpg.rf.{other}.jpg"]
    assert len(set(groups.values())) == 4
    assert dict(rows(manifest, "path", "split"))[f"valid/x/3_jpg.rf.{one}.jpg"] == "val"
    assert "Source images: 4; further augmented copies of them: 1." in manifest.notes
    place.images(f"test/x/lesion 1_jpg.rf.{'5b' * 16}.jpg")
    assert [pair.kind for pair in find_leaks(read_dataset(place.root)).leaks] == ["same source_id"]
