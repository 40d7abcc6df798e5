"""Pages that lead from the five systems to Chiron: they name real keys, recipes and options; the list is up to date."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from recipe_pages import PAGE, keys_of, page

from chiron.cli.main import app
from chiron.spec.augment_presets import PRESETS
from chiron.spec.library import packaged_recipes
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import Recipe

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = {path.stem.removeprefix("coming-from-"): path.read_text("utf-8") for path in HOW_TO.glob("coming-from-*.md")}
# Everything that can be set in the system that a page is about; H-CoAtNet's scripts have no names for it.
SETTINGS = {
    "convnextv2-ssa": "--train_csv --val_csv --test_csv --img_dir --epochs --batch_size --peak_lr --start_lr "
    "--weight_decay --momentum --warmup_epochs --mixup_alpha --ema_decay --num_workers --device --seed --out_dir "
    "--save_freq --grad_clip --no_scheduler --no_ema --resume --overfit_mode --overfit_n --sanity_run",
    "qing": "IMG_SIZE BATCH_SIZE VALIDATION_SPLIT NUM_CLASSES D_MODEL NUM_HEADS FFN_DIM NUM_LAYERS DROPOUT_RATE "
    "FREEZE_CNN FINE_TUNE_LAYERS INIT_LR EPOCHS MIN_LR PATIENCE CHECKPOINT_DIR LOG_DIR RESULTS_DIR "
    "CHEXNET_WEIGHTS_PATH",
    "dermalyze": "model.name model.size model.num_classes model.image_size model.pretrained model.head_type "
    "model.dropout_rate model.freeze_backbone training.seed training.batch_size training.epochs training.lr "
    "training.weight_decay training.num_workers training.use_amp training.use_torch_compile training.fast_mode "
    "training.use_weighted_sampling training.augmentation training.early_stopping_patience "
    "training.prefetch_factor training.persistent_workers training.scheduler T_0 T_mult eta_min warmup_pct loss "
    "gamma alpha data.root data.images_dir data.labels_csv data.val_size data.test_size data.lesion_aware",
    "hybrid-lung-vit": "SEED IMG_SIZE BATCH_SIZE EPOCHS LR WEIGHT_DECAY LAMBDA_SEG LAMBDA_ATT SAVE_DIR PATIENCE "
    "freeze_epochs DATA_ROOT",
}
PARTS = "model|input|labels|data|augment|train|evaluate|intended_use"


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows, without the lines under headings."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def commands(text: str) -> list[list[str]]:
    """Arguments of every `chiron` command in the page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("chiron ")]


def test_there_is_a_page_a_system():
    assert set(PAGES) == {"h-coatnet", *SETTINGS}


@pytest.mark.parametrize("system", SETTINGS)
def test_every_setting_of_the_system_has_a_row(system):
    named = {word.strip("`,:") for row in rows(PAGES[system]) for word in row[0].split()}
    assert set(SETTINGS[system].split()) <= named


@pytest.mark.parametrize("system", PAGES)
def test_every_key_named_is_one_of_the_recipe(system):
    """`key` and `key: value` in the cells that say what is set here, and in the text; values must be taken too."""
    theirs = {span for row in rows(PAGES[system]) for span in re.findall(r"`([^`]+)`", row[0])}
    spans = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGES[system], flags=re.DOTALL))) - theirs
    keys = [span for span in spans if re.match(rf"({PARTS})\.\w+", span) and not span.endswith((".csv", ".py"))]
    assert len(keys) > 5
    known = keys_of(Recipe)
    for span in keys:
        key, _, value = span.partition(": ")
        assert key in known, span
        if value and key not in ("model.name", "model.head"):  # those are checked against registries
            read_recipe("phantom_cxr/fair_cnn_nano", (f"{key}={value}", *NEEDED.get(span, ())))


# What a setting cannot stand without, or what it replaces, in a recipe that has nothing to do with the page.
NEEDED: dict[str, Any] = {
    "model.init: imported": ("model.weights=some.safetensors",),
    "train.class_weight_cap: 10": ("train.class_weights=balanced",),
    "labels.positive: PNEUMONIA": ("labels.descriptions={}",),
}


@pytest.mark.parametrize("system", PAGES)
def test_every_recipe_and_preset_named_is_packaged(system):
    recipes = packaged_recipes()
    named = re.findall(r"(?<![/\w.])([a-z0-9_]+/[a-z0-9_]+\.(?:documented|code|paper|corrected|own))\b", PAGES[system])
    assert named
    assert set(named) <= set(recipes)
    folder = named[0].split("/")[0]
    readings = {name for name in recipes if name.startswith(f"{folder}/") and not name.endswith(".own")}
    if system != "h-coatnet":  # whose page names one reading of each network
        assert readings == set(named)
    assert set(re.findall(r"`(dermalyze\.\w+)`", PAGES[system])) <= set(PRESETS)


@pytest.mark.parametrize("system", PAGES)
def test_the_page_says_what_of_a_checkpoint_is_known(system):
    """Names of layers are not public, so that no page may promise a whole network."""
    own = PAGES[system].split("## Your checkpoint")[1].split("##")[0]
    assert "not public" in own or "not published" in own
    assert "the import tells" in " ".join(own.split()) or "the rest is told" in own


@pytest.mark.parametrize("system", PAGES)
def test_commands_can_be_typed(system):
    """Verbs and options exist; recipes and changes are right. Nothing is run."""
    lines = commands(PAGES[system])
    assert lines
    for line in lines:
        command, arguments = typer.main.get_command(app), list(line)
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        context = command.make_context("chiron", arguments)
        if line[0] == "train":
            read_recipe(context.params["recipe"], context.params["change"] or ())


def test_the_list_of_recipes_is_up_to_date():
    """Otherwise: python tests/recipe_pages.py."""
    assert PAGE.read_text(encoding="utf-8") == page()
