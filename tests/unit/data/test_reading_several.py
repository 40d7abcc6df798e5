"""Tables in which an image can have several classes: recognized, forced, refused; data sets that have them; Parquet."""

import datetime
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.core.errors import DataError
from chiron.data.reading import read_dataset
from chiron.data.split_tables import save_splits
from chiron.data.tables import read_table
from chiron.spec.layout import Layout
from chiron.workflows.phantoms import make_phantoms

ALONE = Layout(table_only=True)
MULTI, SINGLE = Layout(table_only=True, labels="multi"), Layout(table_only=True, labels="single")


@pytest.fixture
def table(tmp_path):
    def write(*lines: str, name: str = "t.csv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


def test_rows_with_several_ones_make_several_labels(table):
    manifest = read_dataset(table("image,a,b,c", "1,1,1,0", "2,0,0,0", "3,0,1,", "4,0,0,1"), ALONE)
    assert manifest.is_multi_label
    assert manifest.classes == ("a", "b", "c")
    assert manifest.labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, -1], [0, 0, 1]]
    told = "of 4 images 1 show several and 1 none; of their labels 0 are uncertain and 1 not assessed."
    assert any(told in note for note in manifest.notes)


def test_one_uncertain_cell_makes_several_labels_of_all_columns_even_blank_ones(table):
    lines = ["image,age,a,b", "1,50,-1.0,", "2,60,1.0,", "3,1,0.0,1.0", "4,0,,"]
    manifest = read_dataset(table(*lines), ALONE)
    assert manifest.labels.tolist() == [[-2, -1], [1, -1], [0, 1], [-1, -1]]
    assert any(note.startswith("Images without a known class: 1.") for note in manifest.notes)


def test_a_column_of_unknowns_says_one_class_an_image(table):
    with pytest.raises(DataError, match="Got 1 with several classes: line 2"):
        read_dataset(table("image,a,b,UNK", "1,1,1,0", "2,0,1,0"), ALONE)


def test_few_rows_with_several_ones_are_mistakes_unless_a_person_says_otherwise(table):
    lines = ["image,a,b", *[f"{n},{n % 2},{1 - n % 2}" for n in range(200)], "x,1,1"]
    with pytest.raises(DataError, match=r"several classes: line 202 of t\.csv.*--labels multi"):
        read_dataset(table(*lines), ALONE)
    assert read_dataset(table(*lines), MULTI).labels[-1].tolist() == [1, 1]
    assert not read_dataset(table(*lines[:-1]), ALONE).is_multi_label


def test_rows_without_any_one_are_left_to_a_person(table):
    lines = ["image,a,b", "1,0,1", "2,0,0", "3,1,0"]
    with pytest.raises(DataError, match=r"only zeros\): line 3 of t\.csv\. .*--labels multi"):
        read_dataset(table(*lines), ALONE)
    assert read_dataset(table(*lines), MULTI).labels.tolist() == [[0, 1], [0, 0], [1, 0]]
    several = ["image,a,b", "1,1,1", "2,0,1"]
    with pytest.raises(DataError, match="several classes: line 2"):
        read_dataset(table(*several), SINGLE)


def test_a_one_hot_table_stays_one_class_unless_it_is_forced(table):
    path = table("image,a,b", "1,0,1", "2,1,0")
    assert not read_dataset(path, ALONE).is_multi_label
    assert read_dataset(path, MULTI).is_multi_label


def test_cells_that_name_several_classes(table):
    manifest = read_dataset(table("image,label", "1,mass|edema", "2,No Finding", "3,edema", "4,"), MULTI)
    assert manifest.classes == ("edema", "mass")
    assert manifest.labels.tolist() == [[1, 1], [0, 0], [1, 0], [-1, -1]]


def test_shares_name_no_class_of_several_either(table):
    with pytest.raises(DataError, match=r"must hold 1, 0, -1 .* Got another cell of b in line 3 of t\.csv"):
        read_dataset(table("image,a,b", "1,1,1", "2,0,0.5", "3,1,1"), ALONE)


def test_tables_of_splits_are_read_again(tmp_path):
    data = make_phantoms("phantom-cxr", tmp_path / "d", num_images=40, img_size=32, layout="nih")
    before = read_dataset(data)
    save_splits(before, tmp_path / "m")
    again = read_dataset(tmp_path / "m" / "test_split.csv", Layout(images=data, labels="multi"))
    assert again.classes == before.classes
    np.testing.assert_array_equal(again.labels, before.select("test").labels)


def test_chexpert_reads_patients_studies_splits_and_leaves_out_empty_findings(tmp_path):
    data = make_phantoms("phantom-cxr", tmp_path / "renamed", num_images=60, img_size=32, layout="chexpert")
    manifest = read_dataset(data)
    assert manifest.reader == "chexpert"
    assert manifest.classes == ("No Finding", "Cardiomegaly", "Lung Opacity", "Pleural Effusion")
    assert set(manifest.frame["split"]) == {"train", "val"}
    assert manifest.id_certainty == {"patient_id": "certain"}
    assert manifest.roles["Frontal/Lateral"] == "technical"
    assert manifest.roles["study_id"] == "identifier"
    assert {-2, -1, 0, 1} == set(np.unique(manifest.select("train").labels))
    assert set(np.unique(manifest.select("val").labels)) == {0, 1}
    assert any("Findings that no image shows are left out: Enlarged Cardiomediastinum" in n for n in manifest.notes)
    truth = pl.read_csv(tmp_path / "renamed-truth" / "truth.csv").select("path", "label_opacity")
    joined = manifest.frame.join(truth, on="path").filter(pl.col("label_Lung Opacity").is_in([0, 1]))
    assert (joined["label_Lung Opacity"] == joined["label_opacity"]).all()
    assert joined.height > 20


def test_nih_reads_lists_and_names_joined_by_bars(tmp_path):
    data = make_phantoms("phantom-cxr", tmp_path / "d", num_images=60, img_size=32, layout="nih")
    manifest = read_dataset(data)
    assert manifest.reader == "nih"
    assert manifest.classes == ("Cardiomegaly", "Effusion", "Infiltration")
    assert set(manifest.frame["split"]) == {"train", "test"}
    truth = pl.read_csv(tmp_path / "d-truth" / "truth.csv").select("path", "label_effusion", "split")
    joined = manifest.frame.join(truth, on="path")
    assert (joined["label_Effusion"] == joined["label_effusion"]).all()
    assert (joined["split"] == joined["split_right"]).all()
    (data / "test_list.txt").write_text((data / "train_val_list.txt").read_text())
    with pytest.raises(DataError, match="must stand in one list"):
        read_dataset(data)


# Parquet


def test_parquet_reads_as_the_same_table_in_csv(tmp_path):
    frame = pl.DataFrame(
        {
            "image": ["i1", "i2", "i3"],
            "label": ["cat", "dog", "cat"],
            "patient_id": [1, 2, None],
            "score": [0.5, float("nan"), 2.0],
            "seen": [True, None, False],
            "day": [datetime.date(2020, 1, 2), None, None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    frame.with_columns(pl.col("score").fill_nan(None)).write_csv(tmp_path / "t.csv")
    one, other = (read_dataset(tmp_path / name, ALONE) for name in ("t.parquet", "t.csv"))
    assert one.frame.equals(other.frame)
    assert one.classes == ("cat", "dog")


def test_a_folder_with_images_and_parquet_tables(tmp_path):
    for name in ("x", "y"):
        Image.fromarray(np.full((4, 4), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    frame = pl.DataFrame({"image": ["x", "y"], "a": [1, 1], "b": [0, 1], "subject_id": ["p", "q"]})
    frame.write_parquet(tmp_path / "labels.parquet")
    manifest = read_dataset(tmp_path)
    assert manifest.labels.tolist() == [[1, 0], [1, 1]]
    assert manifest.frame["patient_id"].to_list() == ["p", "q"]


def test_a_mistake_in_parquet_is_told_by_row(tmp_path):
    pl.DataFrame({"image": ["x", "y"], "a": [1, 0], "b": [0, 0]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"only zeros\): row 2 of t\.parquet"):
        read_dataset(tmp_path / "t.parquet", ALONE)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"image": ["x"], "pixels": [[1, 2]]}), "Got pixels of type List"),
        (pl.DataFrame({"image": pl.Series([], dtype=pl.String)}), "Got no row in t.parquet"),
    ],
)
def test_parquet_that_is_refused(frame, message):
    stream = io.BytesIO()
    frame.write_parquet(stream)
    with pytest.raises(DataError, match=message):
        read_table(stream.getvalue(), "t.parquet")
    with pytest.raises(DataError, match="A Parquet table must be whole"):
        read_table(b"PAR1 and no more", "t.parquet")
