import pytest

from chiron.core.errors import SpecError
from chiron.spec.reading import read_recipe, recipe_yaml

MINIMAL = """\
model:
  name: chiron_h_coatnet_nano
  init: scratch
input:
  img_size: 64
train:
  epochs: 2
  lr: 1e-3
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_defaults_are_filled_and_written_out(recipe_file, tmp_path):
    recipe = read_recipe(recipe_file(MINIMAL))
    assert recipe.train.lr == 0.001
    assert recipe.data.fractions == {"train": 0.7, "val": 0.15, "test": 0.15}
    (tmp_path / "resolved.yaml").write_text(recipe_yaml(recipe))
    assert read_recipe(str(tmp_path / "resolved.yaml")) == recipe


def test_set_changes_values_and_reads_files(recipe_file, tmp_path):
    (tmp_path / "leaks.yaml").write_text("- a~b\n- c~d\n")
    recipe = read_recipe(
        recipe_file(MINIMAL), ["train.lr=7e-4", f"data.accept_leaks=@{tmp_path}/leaks.yaml", "augment.scale=[0.9, 1.1]"]
    )
    assert recipe.train.lr == 0.0007
    assert recipe.data.accept_leaks == ("a~b", "c~d")
    assert recipe.augment.scale == (0.9, 1.1)


def test_every_mistake_at_once_with_line_and_suggestion(recipe_file):
    text = MINIMAL.replace("epochs: 2", "epocs: 2").replace("1e-3", "fast").replace("nano", "nan")
    path = recipe_file(text)
    with pytest.raises(SpecError) as caught:
        read_recipe(path, registries={("model", "name"): ["chiron_h_coatnet_nano", "resnet18"]})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{path}:2: model.name must be a known name")
    assert lines[0].endswith("Did you mean 'chiron_h_coatnet_nano'?")
    assert lines[1] == f"{path}:6: train.epochs must be given."
    assert lines[2].startswith(f"{path}:7: unknown key 'train.epocs'. Did you mean 'epochs'?")
    assert lines[3] == f"{path}:8: train.lr must be a number. Got 'fast'."
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "train.schedule_per=stepp",
            "must be 'step' or 'epoch'. Got 'stepp'. Did you mean 'step'?",
        ),
        ("train.epochs=0", "train.epochs: input should be greater than or equal to 1. Got 0."),
        ("train.epochs=2.5", "train.epochs must be a whole number. Got 2.5."),
        (
            "train.warmup_epochs=2",
            "train: warmup_epochs (2) must be smaller than epochs (2); for example --set train.warmup_epochs=0.",
        ),
        ("data.fractions={train: 0.5, val: 0.2}", "data: fractions must sum to 1, not 0.7."),
        ("data.fractions={train: 1.0}", "data: fractions must give train and val a share."),
        ("augment.scale=[1.1, 0.9]", "augment: scale must be two positive numbers, the smaller first."),
        ("input.in_chans=4", "input.in_chans must be 1 or 3. Got 4."),
        ("input.mean=[0.5]", "input: mean must have one value a channel (3)."),
        (
            "train.precision=fp61",
            "train.precision must be 'auto', 'fp32', 'bf16' or 'fp16'. Got 'fp61'. Did you mean 'fp16'?",
        ),
        ("train.num_workers=many", "train.num_workers must be a whole number. Got 'many'."),
        ("model=resnet18", "model must be a mapping. Got 'resnet18'."),
    ],
)
def test_message_of_each_kind(recipe_file, change, message):
    with pytest.raises(SpecError) as caught:
        read_recipe(recipe_file(MINIMAL), [change])
    assert message in str(caught.value)


@pytest.mark.parametrize("change", ["train.lr", "=3", "train..lr=3"])
def test_malformed_set_is_told(recipe_file, change):
    with pytest.raises(SpecError, match="must be key=value"):
        read_recipe(recipe_file(MINIMAL), [change])


def test_unknown_recipe_name_suggests():
    with pytest.raises(SpecError, match=r"Did you mean 'phantom_cxr/h_coatnet_nano.own'"):
        read_recipe("phantom_cxr/h_coatnet_nan.own")


def test_packaged_recipe_by_its_short_name():
    assert read_recipe("phantom_cxr/h_coatnet_nano") == read_recipe("phantom_cxr/h_coatnet_nano.own")
