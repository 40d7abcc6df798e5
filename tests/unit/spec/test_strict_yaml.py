import pytest

from chiron.core.errors import SpecError
from chiron.spec.strict_yaml import parse_value, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("7e-4", 0.0007), ("1", 1), ("007", 7), (".5", 0.5), ("0x1F", "0x1F"), ("1:30", "1:30"),
        ("yes", "yes"), ("on", "on"), ("true", True), ("~", None), ("2026-01-01", "2026-01-01"), ("[1, 2.0]", [1, 2.0]),
    ],
)  # fmt: skip
def test_scalars_as_in_yaml_1_2(text, value):
    got = parse_value(text)
    assert got == value
    assert type(got) is type(value)


def test_lines_are_known():
    document = parse_yaml("a:\n  b: 1\n  c:\n    - 5\n    - 6\n", "file.yaml")
    assert document.where(("a", "b")) == "file.yaml:2"
    assert document.where(("a", "c", 1)) == "file.yaml:5"
    assert document.where(("a", "missing")) == "file.yaml:1"


def test_duplicate_keys_are_all_told():
    with pytest.raises(SpecError) as caught:
        parse_yaml("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", "f.yaml")
    assert str(caught.value).splitlines() == [
        "f.yaml:2: a key must stand once. Got 'a' again. Remove one of the two.",
        "f.yaml:5: a key must stand once. Got 'c' again. Remove one of the two.",
    ]


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx", "- 1", "", "just text", "a: !!python/object:os.system 1"])
def test_what_is_not_a_recipe_is_one_error(text):
    with pytest.raises(SpecError):
        parse_yaml(text, "f.yaml")
