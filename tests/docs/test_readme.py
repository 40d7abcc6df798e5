"""The README's commands run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from chiron.cli.main import run
from chiron.spec.library import packaged_recipes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    section = README.split(f"## {heading}")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines() if line]


def test_a_first_training_takes_fewer_than_ten_lines():
    assert 0 < len(commands("Your own images")) < 10


@pytest.mark.slow
def test_first_training_runs_as_written(tmp_path, monkeypatch, class_folders):
    (class_folders / "sick").rename(class_folders / "malignant")
    class_folders.rename(tmp_path / "my_images")
    (tmp_path / "new_images").mkdir()
    for path in list((tmp_path / "my_images" / "malignant").iterdir())[:3]:
        (tmp_path / "new_images" / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    ours = [shlex.split(line)[1:] for line in commands("Your own images") if line.startswith("chiron ")]
    assert len(ours) == 4
    for arguments in ours:
        assert run(arguments) == 0, arguments
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 4
    assert (tmp_path / "run" / "report.html").is_file()


def test_every_recipe_in_the_readme_exists():
    names = {name.rsplit(".", 1)[0] for name in packaged_recipes()}
    used = set(re.findall(r"chiron train ([a-z0-9_/]+)", README))
    assert used
    assert used <= names


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_readme_leads_to_every_how_to():
    pages = {f"docs/how-to/{path.name}" for path in (ROOT / "docs" / "how-to").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#]+)\)", README))


def test_the_page_of_the_architecture_names_every_module_of_the_engine():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b\w+\.py\b", text.split("## The engine")[1].split("\n## ")[0]))
    modules = {path.name for path in (ROOT / "src" / "chiron" / "engine").glob("*.py")} - {"__init__.py"}
    assert named == modules


def test_paths_named_in_contributing_exist():
    for target in re.findall(r"`((?:src|tests)/[\w./]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists() or "<" in target, target
