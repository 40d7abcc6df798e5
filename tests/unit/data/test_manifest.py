"""Manifest: checked when made, the same after saving, digests that depend on content alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.manifest import Manifest, is_manifest


def make(**columns) -> Manifest:
    table = {
        "sample_id": ["a", "b", "c", "d"],
        "path": ["x/a.png", "x/b b.png", 'y/ç,"q".png', "y/d.png"],
        "label": ["cat", "cat", "dog", None],
        "split": ["train", "test", None, "test"],
        "pixels_sha256": ["1", "2", "3", "4"],
    } | columns
    frame = pl.DataFrame({name: values for name, values in table.items() if values is not None})
    return Manifest(frame, ("cat", "dog"), Path("/nowhere/images"), "class_folders")


def test_optional_columns_are_added_in_a_fixed_order():
    manifest = make(age=[1, 2, None, 4])
    assert manifest.frame.columns == [
        "sample_id", "unit_id", "patient_id", "group_id", "path", "label", "split", "status", "status_reason",
        "bytes_sha256", "pixels_sha256", "look_hash", "age",
    ]  # fmt: skip
    assert manifest.frame["group_id"].to_list() == ["g-a", "g-b", "g-c", "g-d"]
    assert manifest.frame["status"].to_list() == ["ok"] * 4


def test_labels_are_places_in_the_fixed_list():
    np.testing.assert_array_equal(make().labels, [0, 0, 1, -1])
    np.testing.assert_array_equal(replace(make(), classes=("dog", "bird", "cat")).labels, [2, 2, 0, -1])


def test_labels_of_several_classes_keep_what_is_unknown():
    several = make(label=None, label_cat=[1, 0, None, 1], label_dog=[1, 1, 0, None])
    assert several.is_multi_label
    np.testing.assert_array_equal(several.labels, [[1, 1], [0, 1], [-1, 0], [1, -1]])


def test_saving_and_loading_gives_the_same(tmp_path):
    manifest = replace(
        make(
            age=[1, 2, None, 4], score=[0.1, None, 1e-17, 3.0], seen=[True, False, None, True],
            site=["  ", "A\nB", 'quote " and , comma', "007"], patient_id=["p", "p", None, "007"],
        ),
        roles={"age": "subgroup", "site": "site"},
        id_certainty={"patient_id": "certain"},
        grouping="Grouped by patient.",
        notes=("one", "zwei ü"),
        fold=3,
    )  # fmt: skip
    manifest.save(tmp_path / "out")
    loaded = Manifest.load(tmp_path / "out")
    assert loaded.frame.equals(manifest.frame)
    assert loaded.frame.schema == manifest.frame.schema
    assert loaded.frame["site"].to_list()[0] is None  # blank text is no value
    for name in ("classes", "root", "reader", "roles", "id_certainty", "grouping", "notes", "fold"):
        assert getattr(loaded, name) == getattr(manifest, name), name
    assert loaded.digest == manifest.digest
    assert Manifest.load(tmp_path / "out" / "manifest.csv", root=tmp_path).root == tmp_path


def test_several_labels_survive_saving(tmp_path):
    several = make(label=None, label_cat=[1, 0, None, 1], label_dog=[1, 1, 0, None])
    several.save(tmp_path)
    np.testing.assert_array_equal(Manifest.load(tmp_path).labels, several.labels)


def test_images_beside_the_manifest_move_with_it(tmp_path):
    replace(make(), root=tmp_path / "old" / "images").save(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert Manifest.load(tmp_path / "new").root == tmp_path / "new" / "images"


def test_a_table_without_facts_is_enough(tmp_path):
    (tmp_path / "my.csv").write_text("sample_id,path,label,patient_id\n1,a.png,x,p\n2,b.png,y,\n", encoding="utf-8")
    manifest = Manifest.load(tmp_path / "my.csv")
    assert is_manifest(tmp_path / "my.csv")
    assert not is_manifest(tmp_path)
    assert (manifest.classes, manifest.root) == (("x", "y"), tmp_path)
    assert manifest.id_certainty == {"patient_id": "certain"}


def test_digest_depends_on_content_alone():
    one = make()
    mixed = replace(one, frame=one.frame.sample(fraction=1, shuffle=True, seed=1), root=Path("/else"))
    moved = replace(one, frame=one.frame.with_columns(("z/" + pl.col("path")).alias("path")))
    assert one.digest == mixed.digest == moved.digest
    for column in ("label", "split", "pixels_sha256"):
        other = replace(one, frame=one.frame.with_columns(pl.col(column).reverse()))
        assert other.digest != one.digest


def test_content_digest_recognizes_renamed_images_and_parts():
    one = make()
    renamed = replace(one, frame=one.frame.with_columns(("z" + pl.col("sample_id")).alias("sample_id")))
    assert one.content_digest("test") == renamed.content_digest("test") != one.content_digest()
    assert set(one.select("test").content_hashes()) < set(one.content_hashes())
    relabeled = replace(one, frame=one.frame.with_columns(pl.lit("dog").alias("label")))
    assert not set(relabeled.content_hashes("test")) & set(one.content_hashes("test"))


def test_splits_are_set_by_sample():
    manifest = make().with_splits({"d": "val", "a": "cal"}, notes=["told"])
    assert manifest.frame["split"].to_list() == ["cal", None, None, "val"]
    assert manifest.select("val").frame["sample_id"].to_list() == ["d"]
    assert manifest.notes == ("told",)
    with pytest.raises(DataError, match=r"Got 'valid'\. Did you mean 'val'"):
        manifest.select("valid")


def of_numbers(count: int) -> Manifest:
    """Classes "0", "1", ... as text sorts them: 10 before 2."""
    numbers = [str(k) for k in range(count)]
    frame = pl.DataFrame({"sample_id": numbers, "path": numbers, "label": numbers})
    return Manifest(frame, tuple(sorted(numbers)), Path("."), "class_folders")


def test_class_names_take_the_place_of_whole_numbers():
    names = [f"class {letter}" for letter in "abcdefghijkl"]
    named = of_numbers(12).with_class_names(names)
    assert named.classes == tuple(names)
    assert named.frame["label"].to_list() == names
    np.testing.assert_array_equal(named.labels, range(12))


def test_class_names_that_are_the_classes_fix_their_order():
    turned = make().with_class_names(["dog", "cat"])
    assert turned.classes == ("dog", "cat")
    np.testing.assert_array_equal(turned.labels, [1, 1, 0, -1])
    assert turned.digest == make().digest
    swapped = of_numbers(2).with_class_names(["1", "0"])  # an order, not new names for 0 and 1
    assert (swapped.classes, swapped.frame["label"].to_list()) == (("1", "0"), ["0", "1"])


def test_class_names_of_several_labels_rename_their_columns():
    table = {"sample_id": ["a", "b"], "path": ["a", "b"], "label_1": [1, None], "label_0": [0, 1]}
    several = Manifest(pl.DataFrame(table), ("1", "0"), Path("."), "x", roles={"label_1": "reference_standard"})
    named = several.with_class_names(["edema", "mass"])
    assert named.label_columns == ["label_edema", "label_mass"]
    np.testing.assert_array_equal(named.labels, [[0, 1], [1, -1]])
    assert named.roles == {"label_mass": "reference_standard"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("cat", "dgo"),
            r"Got the 2 names cat, dgo for the 2 classes cat, dog\. Did you mean 'dog'\? Change labels\.names",
        ),
        (("cat", "dog", "cow"), "Got the 3 names cat, dog, cow for the 2 classes cat, dog. Change"),
        (("cat", "cat"), "Got the 2 names cat, cat for"),
    ],
)
def test_class_names_that_do_not_fit_are_refused_with_both_lists(names, message):
    with pytest.raises(DataError, match=message):
        make().with_class_names(names)


def test_class_names_for_numbers_must_be_as_many_and_differ():
    with pytest.raises(DataError, match="Got the 2 names a, b for the 3 classes 0, 1, 2"):
        of_numbers(3).with_class_names(["a", "b"])
    with pytest.raises(DataError, match="must differ by more than case"):
        of_numbers(2).with_class_names(["mel", "Mel"])


@pytest.mark.parametrize("fold", [-1, "first", True])
def test_a_fold_is_a_whole_number_from_0(tmp_path, fold):
    make().save(tmp_path)
    facts = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(facts | {"fold": fold}))
    with pytest.raises(DataError, match=rf"fold of a manifest must be a whole number from 0.*Got {fold!r}"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample_id": ["a", "b", "a", "b"]}, "its own sample_id. Got 2 repeated: a, b"),
        ({"sample_id": ["a", None, "c", "d"]}, "must have a sample_id. Got 1 without"),
        ({"label": ["cat", "cat", "dgo", None]}, r"label must hold cat, dog or nothing. Got 'dgo'. Did you mean 'dog'"),
        ({"split": ["train", "trian", None, None]}, r"split must hold train, .*Got 'trian'. Did you mean 'train'"),
        ({"status": ["ok", "bad", "ok", "ok"]}, "status must hold ok, unreadable, excluded or nothing. Got 'bad'"),
        ({"path": None}, "must have the column 'path'"),
        ({"label": None}, "must have the column 'label' or one label_<class>"),
        (
            {"label": None, "label_cat": [1, 0, 2, 1], "label_dog": [1, 0, 0, 1]},
            "label_cat must hold 0, 1, -1 or nothing",
        ),
        (
            {"label": None, "label_cat": [1, 0, 1, 1], "label_dog": [1, 0, 0, 1], "label_cow": [1, 0, 1, 1]},
            "must be of known classes .*Got 'label_cow'",
        ),
        ({"path": ["/data/a.png", "b", "c", "d"]}, r"relative to the manifest's folder. Got '/data/a\.png'"),
        ({"path": ["a", "b", "C:\\x\\c.png", "d"]}, "relative to the manifest's folder. Got 'C:"),
        ({"path": ["a", "b", "c", r"\\server\d.png"]}, "relative to the manifest's folder. Got '.*server"),
    ],
)
def test_what_a_manifest_refuses(columns, message):
    with pytest.raises(DataError, match=message):
        make(**columns)


@pytest.mark.usefixtures("unchecked")
def test_roles_and_certainty_need_a_column_and_a_known_word():
    with pytest.raises(DataError, match=r"A role must be .*'predictor' for 'age'"):
        replace(make(), roles={"age": "predictor"})
    with pytest.raises(DataError, match=r"A certainty must be certain, inferred .*'sure'"):
        replace(make(), id_certainty={"patient_id": "sure"})


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"readable CSV.*manifest\.csv"):
        Manifest.load(tmp_path)
    make().save(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"readable JSON.*manifest\.json"):
        Manifest.load(tmp_path)
    make(age=[1, 2, 3, 4]).save(tmp_path)
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    (tmp_path / "manifest.csv").write_text(text.replace(",1\n", ",old\n"), encoding="utf-8")
    with pytest.raises(DataError, match="the type it had"):
        Manifest.load(tmp_path)
    facts = json.loads((tmp_path / "manifest.json").read_text())
    assert facts["types"] == {"age": "Int64"}


@pytest.mark.parametrize("stated", [{}, {"unit_id": "inferred"}])
def test_an_id_column_filled_in_later_is_certain_and_told(tmp_path, stated):
    told = "Grouped by lesion." if stated else Manifest.grouping
    replace(make(unit_id=["u", "u", None, None]), id_certainty=stated, grouping=told).save(tmp_path)
    table = pl.read_csv(tmp_path / "manifest.csv", infer_schema=False)
    if not stated:
        table = table.with_columns(pl.lit(" ").alias("unit_id"))  # blank: nothing is known
    table.with_columns(pl.Series("patient_id", ["p", "p", "", "q"])).write_csv(tmp_path / "manifest.csv")
    loaded = Manifest.load(tmp_path)
    assert loaded.id_certainty == stated | {"patient_id": "certain"}
    expected = "Grouped by lesion, and by patient_id of the table." if stated else "Grouped by patient_id of the table."
    assert loaded.grouping == expected


def test_the_group_id_beside_facts_is_no_id_but_one_in_a_table_made_by_hand_is(tmp_path):
    make().save(tmp_path)
    assert Manifest.load(tmp_path).id_certainty == {}
    assert Manifest.load(tmp_path).grouping == Manifest.grouping
    (tmp_path / "manifest.json").write_text('{"classes": ["dog", "cat"]}')
    assert Manifest.load(tmp_path).id_certainty == {"group_id": "certain"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("Benign,benign ", r"white space around them\. Got 'Benign', 'benign '"),
        ("x,x ", r"Got 'x', 'x '"),
        ('"a ""b""",c', r"no double quote and no line break\. Got 'a \"b\"'"),
        ('"a\nb",c', r"no double quote and no line break\. Got 'a\\nb'"),
    ],
)
def test_class_names_that_are_refused(tmp_path, labels, message):
    one, other = labels.rsplit(",", 1)
    table = f"sample_id,path,label\n1,a.png,{one}\n2,b.png,{other}\n"
    (tmp_path / "my.csv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Manifest.load(tmp_path / "my.csv")


def test_a_blank_label_is_no_class(tmp_path):
    (tmp_path / "my.csv").write_text("sample_id,path,label\n1,a.png,x\n2,b.png,y\n3,c.png,  \n", encoding="utf-8")
    manifest = Manifest.load(tmp_path / "my.csv")
    assert (manifest.classes, manifest.labels.tolist()) == (("x", "y"), [0, 1, -1])


def test_a_missing_column_is_told_with_those_the_file_has(tmp_path):
    for header, message in (
        ("sample_id,path,diagnosis", r"'label' or one label_<class> a class\. Got sample_id, path, diagnosis\. Rename"),
        ("sample_id,path,lable", r"Got sample_id, path, lable\. Did you mean 'lable'\? Rename"),
        ("name,path,label", r"the column 'sample_id'\. Got name, path, label\. \("),
    ):
        (tmp_path / "my.csv").write_text(f"{header}\n1,a.png,x\n2,b.png,y\n", encoding="utf-8")
        with pytest.raises(DataError, match=message):
            Manifest.load(tmp_path / "my.csv")


def test_beside_a_label_column_others_of_like_name_are_carried(tmp_path):
    rows = "1,a.png,expert,x,3\n2,b.png,report,y,4\n"
    (tmp_path / "my.csv").write_text(f"sample_id,path,label_source,label,label_2\n{rows}", encoding="utf-8")
    manifest = Manifest.load(tmp_path / "my.csv")
    assert (manifest.classes, manifest.is_multi_label) == (("x", "y"), False)
    assert manifest.frame["label_source"].to_list() == ["expert", "report"]
    manifest.save(tmp_path / "again")
    assert Manifest.load(tmp_path / "again").frame.equals(manifest.frame)
