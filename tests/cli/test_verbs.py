"""Every verb's ordinary use, and its JSON."""

import json
import re

import pytest

from chiron.cli.main import run


@pytest.fixture
def result(capsys):
    def call(*arguments: object, code: int = 0) -> str:
        assert run([str(argument) for argument in arguments]) == code
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("layout", ["manifest", "class_folders", "kermany", "medmnist"])
def test_make_then_inspect_each_layout(tmp_path, result, layout):
    out = tmp_path / "made"
    result("data", "make", "phantom-cxr", "--out", out, "--count", 60, "--img-size", 32, "--layout", layout, "-q")
    place = next(out.glob("*.npz"), out)
    described = json.loads(result("data", "inspect", place, "--json", "-q"))
    assert described["reader"] == layout
    assert described["num_images"] == 60
    assert not described["unreadable"]
    assert not described["leaks"]["leaks"]
    if layout in {"manifest", "kermany"}:
        assert described["num_groups"] < 60  # patients are known


def test_split_writes_a_manifest_to_train_on(tmp_path, result, class_folders, tiny_recipe):
    shares = ["--train", "0.5", "--val", "0.2", "--cal", "0.1", "--test", "0.2"]
    described = json.loads(result("data", "split", class_folders, "--out", tmp_path / "m", *shares, "--json", "-q"))
    images = {split: sum(cell["images"] for cell in cells.values()) for split, cells in described["splits"].items()}
    assert images == {"train": 20, "val": 8, "cal": 4, "test": 8}
    arguments = ["train", tiny_recipe, "--data", tmp_path / "m", "--out", tmp_path / "run", "--json", "-q"]
    trained = json.loads(result(*arguments, "--device", "cpu"))
    assert trained["evaluation"]["num_images"] == 8
    assert trained["evaluation"]["split"] == "val"


def test_split_writes_folds_and_counts_them_all(tmp_path, result, class_folders):
    arguments = ["data", "split", class_folders, "--out", tmp_path / "m", "--folds", 4, "-q"]
    shown = [line.split() for line in result(*arguments).splitlines()]
    assert ["fold", "split", "images", "groups", "sick", "well"] in shown
    assert [row for row in shown if row[1:2] == ["test"]] == [[str(k), "test", "10", "10", "5", "5"] for k in range(4)]
    described = json.loads(result(*arguments, "--fold-role", "val", "--force", "--json"))
    assert described["fold_role"] == "val"
    assert [fold["fold"] for fold in described["folds"]] == [0, 1, 2, 3]
    assert {fold["sizes"]["test"]["images"] for fold in described["folds"]} == {6}
    inspected = json.loads(result("data", "inspect", tmp_path / "m" / "fold-2", "--json", "-q"))
    assert inspected["fold"] == 2
    assert inspected["splits"] == described["folds"][2]["splits"]


def test_inspect_prints_shares_of_images_and_of_groups(tmp_path, result):
    result("data", "make", "phantom-cxr", "--out", tmp_path / "made", "--count", 60, "--img-size", 32, "-q")
    described = json.loads(result("data", "inspect", tmp_path / "made", "--json", "-q"))
    shown = result("data", "inspect", tmp_path / "made", "-q")
    largest, smallest = described["imbalance"]["largest"], described["imbalance"]["smallest"]
    assert described["imbalance"]["ratio"] == largest["images"] / smallest["images"]
    assert f"imbalance: {described['imbalance']['ratio']:.1f} (largest class {largest['class']}" in shown
    for name, cell in described["splits"]["unassigned"].items():
        row = ["unassigned", name, str(cell["images"]), str(cell["groups"])]
        row += [f"{100 * cell['images'] / 60:.1f}", f"{100 * cell['groups'] / described['num_groups']:.1f}"]
        assert row in [line.split() for line in shown.splitlines()]


def test_split_shares_must_sum_to_one(tmp_path, class_folders, capsys):
    assert run(["data", "split", str(class_folders), "--out", str(tmp_path / "m"), "--train", "0.9"]) == 2
    assert "must sum to 1. Got 1.2" in capsys.readouterr().err


def test_models_are_listed_by_pattern(result):
    assert "chiron_h_coatnet_nano" in result("models").split()
    assert "resnet18" in json.loads(result("models", "list", "resnet1?", "--json"))
    described = json.loads(result("models", "list", "chiron_fair_cnn", "--details"))
    assert {model["name"] for model in described} == {"chiron_fair_cnn", "chiron_fair_cnn_nano"}


def test_models_alone_are_chirons_families(result):
    assert result("models") == result("models", "list") == result("models", "list", "chiron_*")


def test_models_stages_are_what_freezing_names(result):
    lines = [re.split("  +", line) for line in result("models", "stages", "chiron_fair_cnn_nano").splitlines()]
    assert lines[0] == ["stage", "parameters", "in"]
    assert [line[0] for line in lines[1:]] == ["stage1", "stage2", "head"]
    rows = json.loads(result("models", "stages", "chiron_fair_cnn_nano", "--json"))
    assert sum(row["num_parameters"] for row in rows) == sum(int(line[1].replace(",", "")) for line in lines[1:])
    assert list(rows[0]) == ["name", "num_parameters", "prefixes"]


def test_models_audit_is_a_row_a_claim(result):
    header, cells = [re.split("  +", line) for line in result("models", "audit", "fair_cnn").splitlines()]
    told = dict(zip(header, cells, strict=True))
    assert (told["model"], told["classes"], told["px"]) == ("chiron_fair_cnn", "5", "224")
    assert (told["counted"], told["claimed"], told["verdict"]) == ("242,181", "-", "none claimed")
    assert (told["init"], told["GMACs"]) == ("scratch", "3.74")
    (row,) = json.loads(result("models", "audit", "fair_cnn", "--json"))
    assert (row["counted"], row["claimed"], row["verdict"]) == (242_181, None, "none claimed")
    lines = result("models", "audit", "*h_coatnet").splitlines()
    assert "1.38 times the claim" in lines[3]
    assert "" in lines  # notes follow the table
    assert "second and third pass of stage 1" in lines[-1]


def test_models_audit_tells_that_there_is_no_claim(capsys):
    assert run(["models", "audit", "zzz"]) == 2
    told = capsys.readouterr().err
    assert "must fit an audited model. Got 'zzz'. `chiron models audit` alone shows all." in told


def test_recipes_show_prints_what_can_be_trained(tmp_path, result):
    text = result("recipes", "show", "kermany/h_coatnet_nano")
    (tmp_path / "mine.yaml").write_text(text)
    assert "right" in result("check", tmp_path / "mine.yaml")
    names = [recipe["name"] for recipe in json.loads(result("recipes", "list", "--json"))]
    assert "kermany/h_coatnet_nano.own" in names


def test_recipes_copy_writes_a_file_to_edit_and_says_what_is_next(tmp_path, result, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = result("recipes", "copy", "kermany/h_coatnet_nano")
    text = (tmp_path / "h_coatnet_nano.own.yaml").read_text()
    assert text.rstrip() == result("recipes", "show", "kermany/h_coatnet_nano").rstrip()
    assert "# Expected:" in text
    command = shown.splitlines()[-1].split()
    assert command[:3] == ["next:", "chiron", "check"]
    assert "right" in result(*command[2:])


def test_check_tells_what_is_probably_not_meant(tiny_recipe, result, capsys):
    def warnings(*changes: str) -> str:
        shown = result("check", tiny_recipe, *[word for change in changes for word in ("--set", change)])
        assert shown.splitlines()[-1].startswith(f"{tiny_recipe}: right. ")
        return "\n".join(line for line in shown.splitlines() if "warning" in line)

    assert warnings("train.class_weights=balanced") == warnings("train.sampler=balanced") == ""
    both = ("train.class_weights=balanced", "train.sampler=balanced")
    assert "train.class_weights balanced correct one imbalance twice" in warnings(*both)
    assert warnings(*both, "train.overfit_images=8") == ""
    assert "all repeats are equal" in warnings("train.sampler=balanced", "augment.degrees=0", "augment.brightness=0")
    assert "in the first epoch" in warnings("train.schedule_per=epoch", "train.warmup_epochs=1")
    assert "train.momentum has no effect with train.optimizer adamw" in warnings("train.momentum=0.5")
    assert "train.ema_from_epoch has no effect with no train.ema_decay" in warnings("train.ema_from_epoch=1")
    assert json.loads(result("check", tiny_recipe, "--json"))["train"]["epochs"] == 2


def test_overfit_check_passes_with_one_line(tmp_path, class_folders, tiny_recipe, result):
    arguments = ["train", tiny_recipe, "--data", class_folders, "--out", tmp_path / "run", "--overfit", 8, "-q"]
    line = result(*arguments, "--device", "cpu")
    assert line.startswith("overfit check: accuracy 1.000 on 8 training images (epoch ")
    assert line.endswith("); reached 0.95\n")
    shown = json.loads(result(*arguments, "--device", "cpu", "--force", "--json"))
    assert shown["overfit"] == {"images": 8, "accuracy": 1.0, "reached": True}


def test_predict_prints_json_with_all_keys(trained_run, class_folders, result):
    rows = json.loads(result("predict", trained_run.path, class_folders / "sick", "--json", "-q", "--device", "cpu"))
    assert len(rows) == 20
    assert set(rows[0]) == {
        "path",
        "predicted_class",
        "predicted_class_description",
        "confidence",
        "probabilities",
        "calibrated",
        "scope",
        "referral",
        "experience",
        "disclaimer",
    }


def test_evaluate_says_for_what_the_threshold_was_fitted(capsys):
    from chiron.cli.evaluate import say_evaluation

    accuracy = {"value": 0.5, "low": 0.2, "high": 0.8}
    unit = {"name": "image", "num_units": 80, "num_images": 80, "num_without_id": 0}
    numbers = {
        "unit": unit | {"note": "calibration and thresholds were fitted for the patient"},
        "split": "test",
        "num_groups": 31,
        "positive_class": "opacity",
        "overall": {},
        "questions": {},
        "baselines": {"majority_class": {"class": "normal", "accuracy": accuracy}},
    }
    say_evaluation(numbers)
    assert "calibration and thresholds were fitted for the patient" in capsys.readouterr().out


def test_evaluate_prints_intervals_and_the_majority_class(trained_run, result):
    shown = result("evaluate", trained_run.path, "--quiet")
    assert "majority class" in shown
    assert "auroc" in shown
    numbers = json.loads(result("evaluate", trained_run.path, "--json", "-q"))
    assert numbers["positive_class"] == "sick"


def test_report_is_written_again_and_names_its_limits(trained_run, tmp_path, result):
    again = json.loads(result("report", trained_run.path, "--out", tmp_path / "r.html", "--no-images", "--json", "-q"))
    assert "<img" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (again["report"], again["split"], again["shareable"]) == (str(tmp_path / "r.html"), "test", False)
    assert {"one_seed", "no_external_data"} <= {limit["rule"] for limit in again["limits"]}


def test_results_go_to_stdout_and_progress_to_stderr(trained_run, class_folders, tmp_path, tiny_recipe, capsys):
    arguments = ["train", str(tiny_recipe), "--data", str(class_folders), "--out", str(tmp_path / "run")]
    assert run([*arguments, "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "epoch 2/2" in shown.err
    assert "epoch" not in shown.out
    assert "report:" in shown.out
    assert run([*arguments, "--device", "cpu", "--force", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_inspect_says_when_a_class_cannot_be_divided(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("image,label,patient_id\na,x,P\nb,y,P\nc,y,Q\n", encoding="utf-8")
    assert run(["data", "inspect", str(tmp_path / "t.csv"), "--table-only", "-q"]) == 1
    out = capsys.readouterr().out
    assert "TOO FEW: class x has 1 group; train and val need one each" in out
    assert "training refuses to start" in out


def test_a_table_that_no_reader_takes_is_told_why(tmp_path, capsys):
    (tmp_path / "visits.csv").write_text("image,age\na,30\nb,40\n", encoding="utf-8")
    assert run(["data", "inspect", str(tmp_path), "--table-only", "-q"]) == 2
    assert "visits.csv has no column of classes (image, age)." in capsys.readouterr().err
