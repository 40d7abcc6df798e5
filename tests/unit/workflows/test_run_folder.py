"""What a run folder keeps of the command that made it."""

import sys
from pathlib import Path

import pytest

from chiron.workflows.run_folder import command_line

TYPED = [
    *("train", "own", "/data/Doe", "--images=/data/Doe/files", "--set", "train.epochs=5", "--set"),
    *('data.accept_leaks=["Smith John~Jones",\n"a=b"]', "--set=data.id_columns.x=Perutz"),
    *("--set", "data={accept_leaks: [Smith~Jones]}", "--set", "data.accept_leaks=@Hodgkin.yaml", "--out", "run"),
]


@pytest.fixture(autouse=True)
def typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/chiron", *TYPED])


def test_nothing_is_hidden_unasked():
    assert command_line([None]) == " ".join(["chiron", *TYPED])


def test_hidden_paths_and_what_is_said_of_the_data():
    assert command_line([Path("/data/Doe"), None, Path("/data/Doe/files")]) == (
        "chiron train own DATA DATA --set train.epochs=5 --set data.accept_leaks=... --set=data.id_columns.x=... "
        "--set data=... --set data.accept_leaks=... --out run"
    )


def test_a_path_is_hidden_however_it_is_typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["chiron", "study", "plan.yaml", "--data", "./Doe", "--out=kept"])
    assert command_line([tmp_path / "Doe"]) == "chiron study plan.yaml --data DATA --out=kept"
