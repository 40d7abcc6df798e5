"""The package that the page on extending makes: its four parts are found by their entry points, checked and used."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"
# Runs the page's commands and its Python one after the other, in a process that starts with the package installed.
DRIVER = """\
import json, shlex, sys
from chiron.cli.main import run
names = {}
for kind, text in json.load(sys.stdin):
    if kind == "python":
        exec(text, names)
        continue
    for line in text.splitlines():
        words = shlex.split(line)[1:]
        small = ["--threads=1"] if words[0] in ("train", "evaluate", "explain") else []
        assert run([*words, *small]) == 0, line
"""


def blocks() -> list[tuple[str, str]]:
    """Language and text of every block, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def install(folder: Path, files: dict[str, str]) -> None:
    """The files, and what pip would write so that their entry points are found."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "chiron_extra" / "__init__.py").touch()
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = folder / "chiron_extra-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = project["entry-points"].items()
    parts = [f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in own.items()) for group, own in points]
    (info / "entry_points.txt").write_text("\n".join(parts))


def files_and_steps() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What the page writes, and what it runs."""
    files, steps = {}, []
    for language, text in blocks():
        if header := re.match(r"# (\S+\.(?:py|toml|yaml))\n", text):
            files[header[1]] = text
        elif language in ("python", "sh"):
            steps.append((language, text))
    return files, steps


def test_the_page_has_a_part_of_each_kind():
    files, _ = files_and_steps()
    named = {name for name in files if name.startswith("chiron_extra/")}
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    assert {f"{where.replace('.', '/')}.py" for own in points.values() for where in own.values()} == named
    kinds = {"chiron.models.families", "chiron.data.readers", "chiron.metrics.scores", "chiron.explanation.explainers"}
    assert set(points) == kinds


@pytest.mark.slow
def test_the_package_runs_as_written(tmp_path):
    files, steps = files_and_steps()
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    install(tmp_path / "site", {name: text for name, text in files.items() if name != "recipe.yaml"})
    (tmp_path / "work" / "recipe.yaml").write_text(files["recipe.yaml"], encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(steps),
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "('seed', 'forward', 'gradients', " in done.stdout
    assert "'named_stages', 'named_outputs')\nNone\n" in done.stdout
    assert "reader named_files; Grouped by patient, from file names." in done.stdout
    numbers = json.loads((tmp_path / "work/run/evaluation_metrics.json").read_text(encoding="utf-8"))
    told = numbers["overall"]["worst_sensitivity"]
    assert told["value"] == min(numbers["overall"]["sensitivity"]["value"], numbers["overall"]["specificity"]["value"])
    assert told["low"] <= told["value"] <= told["high"]
    assert "Gradient times input (input_gradient)" in done.stdout
    assert (tmp_path / "work/maps/index.html").is_file()
