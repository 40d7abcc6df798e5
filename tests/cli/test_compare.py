"""`chiron compare` on the command line."""

import json

import pytest

from chiron.cli.main import run


@pytest.fixture
def tables(tmp_path):
    for name, certain in (("plain", 0.6), ("good", 0.9)):
        rows = ["sample_id,y_true,status,prob_sick,prob_well"]
        for k in range(60):
            sick = k % 2 == 0
            right = k % (3 if name == "plain" else 20) != 0
            prob = certain - k / 1000 if sick == right else 1 - certain + k / 1000
            rows.append(f"c{k},{'sick' if sick else 'well'},ok,{prob:.4f},{1 - prob:.4f}")
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    return [str(tmp_path / f"{name}.csv") for name in ("plain", "good")]


def test_a_table_and_words(tables, capsys):
    assert run(["compare", *tables, "--positive", "sick", "--metric", "accuracy", "--margin", "0.5", "-q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("these models on these cases, trainings fixed\n60 images, every image its own group")
    assert "accuracy  plain      good" in out
    assert "accuracy: good is better than plain, by at least 0." in out
    assert "accuracy, margin 0.5: good is " in out


def test_json(tables, capsys):
    arguments = ["compare", *tables, "--positive", "sick", "--metric", "accuracy", "--exact", "--json", "-q"]
    assert run(arguments) == 0
    made = json.loads(capsys.readouterr().out)
    (row,) = made["comparisons"]
    assert (row["only_first_right"], row["only_second_right"], row["test"]) == (2, 19, "McNemar, exact")


def test_a_mistake_is_one_sentence_and_exit_code_two(tables, capsys):
    assert run(["compare", tables[0], "--positive", "sick", "-q"]) == 2
    assert "at least two models" in capsys.readouterr().err
    assert run(["compare", *tables, "--positive", "sick", "--metric", "ece", "-q"]) == 2
    assert "Compare log_loss or brier" in capsys.readouterr().err
