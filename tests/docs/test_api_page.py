"""The page of the Python API is made of the code, holds all that `chiron` shows, and its example runs."""

import re

import pytest
from api_page import INTRODUCTION, PAGE, PARTS, markdown, named, page
from PIL import Image

import chiron
from chiron.core.errors import ChironError


def test_the_page_is_up_to_date():
    """Otherwise: python tests/api_page.py."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_all_that_chiron_shows_is_on_the_page():
    told = {named(name) for names in PARTS.values() for name in names}
    assert {getattr(chiron, name) for name in dir(chiron) if not name.startswith("_")} <= told


def test_sections_become_lists():
    arguments = "Args:\n    a: first\n        and more.\n    b: second.\n"
    made = "\n".join(markdown(f"One line.\n\n{arguments}Raises:\n    ChironError: always.\n\nLast."))
    assert "**Args**\n\n- `a`: first\n  and more.\n- `b`: second.\n" in made
    assert "**Raises**\n\n- `ChironError`: always.\n" in made
    assert made.endswith("\n\nLast.")
    example = "\n".join(markdown("One.\n\nExample:\n    >>> 1 + 1\n    2"))
    assert example.endswith("**Example**\n\n```python\n>>> 1 + 1\n2\n```")


def test_signatures_are_complete():
    text = page()
    assert 'load(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> Scorer' in text
    assert "self" not in "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert text.count("```") % 2 == 0


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "unchecked")
def test_the_example_runs(class_folders, tmp_path, monkeypatch, capsys):
    """With one epoch on small images."""
    monkeypatch.chdir(tmp_path)
    (class_folders / "sick").rename(class_folders / "malignant")
    class_folders.rename(tmp_path / "my_images")
    Image.new("L", (60, 60), 128).save("image.png")
    (block,) = re.findall(r"```python\n(.*?)```", INTRODUCTION, re.DOTALL)
    short = '"train.epochs=1", "train.warmup_epochs=0", "input.img_size=48", '
    exec(block.replace("overrides=(", f"overrides=({short}"), {})
    assert re.search(r"\{'malignant': \d\.\d+, 'well': \d\.\d+\}", capsys.readouterr().out)
    with pytest.raises(ChironError):
        chiron.load(tmp_path / "none")
