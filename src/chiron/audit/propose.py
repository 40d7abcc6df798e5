"""A proposed recipe: settings that follow from the fingerprint by rule, each with the reason in one sentence.

A start, not an optimum: rules of thumb of the field with the numbers of this data set in them. What no number can say
(the class of interest, what the classifier is for) is left to the person.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from chiron.audit.fingerprint import Fingerprint
from chiron.spec.recipe import Recipe

_STRIDE = 32  # of the proposed families: sides must be a multiple
_CHESTS = ("kermany", "chexpert", "nih")
_SKIN = ("ham10000", "pad_ufes")
_SIZE_FOR = ((500, 96), (2_000, 128), (10_000, 160))  # images up to which a side in pixels is enough
_SMALLEST_SIZE, _LARGEST_SIZE = 64, 224
_STEPS = 3_000  # of training that a small network from scratch needs about
_FEW_GROUPS = 50  # of the rarest class: one test split would hold under ten of them
_EVEN, _SEVERE = 1.5, 10.0  # imbalance below which nothing is done, and from which sampling takes over from weights


class Setting(NamedTuple):
    """One key of the recipe, as `section.key`, its value and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class ProposedRecipe:
    """The recipe, the reason of every setting, and the same as YAML with the reasons as comments."""

    recipe: Recipe
    settings: tuple[Setting, ...]
    yaml: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "reasons": {setting.key: setting.reason for setting in self.settings},
            "yaml": self.yaml,
        }


def propose_recipe(found: Fingerprint) -> ProposedRecipe:
    """Settings for a data set with this fingerprint."""
    settings = (
        *_model(found),
        *_input(found),
        *_data(found),
        *_augment(found),
        *_train(found),
    )
    values: dict[str, Any] = {}
    for setting in settings:
        section, _, key = setting.key.partition(".")
        if key:
            values.setdefault(section, {})[key] = setting.value
        else:
            values[section] = setting.value
    recipe = Recipe.model_validate_json(json.dumps(values))
    return ProposedRecipe(recipe, settings, _yaml(settings, found))


def _num_train(found: Fingerprint) -> int:
    """About how many images will be trained on."""
    if found.splits.get("test"):
        return max(1, round(0.85 * (found.splits.get("train", 0) + found.splits.get("val", 0))))
    return max(1, round(0.7 * (found.num_images - found.num_unreadable - found.num_unlabeled)))


def _model(found: Fingerprint) -> Iterator[Setting]:
    labeled = _num_train(found)
    yield Setting("about", f"Proposed from {found.num_images:,} images in {len(found.class_images)} classes", "")
    small = labeled < 20_000
    yield Setting(
        "model.name",
        "chiron_h_coatnet_nano" if small else "chiron_h_coatnet",
        f"About {labeled:,} training images: "
        + ("a small network overfits them later than a large one." if small else "enough for the full-size family."),
    )
    yield Setting(
        "model.init",
        "scratch",
        "Needs no download. A timm model with init: imagenet is often better where there are few images.",
    )


def _input(found: Fingerprint) -> Iterator[Setting]:
    labeled, side = _num_train(found), min(found.widths[3], found.heights[3]) if found.widths else _LARGEST_SIZE
    wanted = next((size for most, size in _SIZE_FOR if labeled <= most), _LARGEST_SIZE)
    img_size = max(_SMALLEST_SIZE, min(wanted, int(side) // _STRIDE * _STRIDE))
    yield Setting(
        "input.img_size",
        img_size,
        f"The median shorter side is {side:g} px, and about {labeled:,} training images carry up to {wanted} px; "
        f"a multiple of {_STRIDE}, at least {_SMALLEST_SIZE} (smaller images are enlarged).",
    )
    is_gray = found.gray_share >= 0.99
    yield Setting(
        "input.in_chans",
        1 if is_gray else 3,
        f"{100 * found.gray_share:.1f} % of the images show no color"
        + (", whatever the mode of their files." if is_gray else "; gray ones are repeated to three channels."),
    )
    depth = next(iter(found.bit_depths), "8")
    yield Setting("input.bit_depth", 16 if depth == "16" else 8, f"Most images have {depth} bits a channel.")
    low, high = (found.aspects[1], found.aspects[5]) if found.aspects else (1.0, 1.0)
    spread = high / low if low else 1.0
    yield Setting(
        "input.resize",
        "letterbox" if spread > 1.25 else "squash",
        f"Aspect ratios run from {low:.2f} to {high:.2f} (5 to 95 %): "
        + ("squashing would distort them unequally." if spread > 1.25 else "squashing distorts all about equally."),
    )
    mean, std = found.channel_mean, found.channel_std
    if is_gray:
        mean, std = (round(sum(mean) / 3, 4),), (round(sum(std) / 3, 4),)  # type: ignore[assignment]
    yield Setting("input.mean", list(mean), "Measured on the training images, for a network from scratch.")
    yield Setting("input.std", [max(0.02, value) for value in std], "Measured likewise.")


def _data(found: Fingerprint) -> Iterator[Setting]:
    rarest = min(found.class_groups, key=lambda name: found.class_groups[name])
    groups = found.class_groups[rarest]
    if found.splits.get("test"):
        yield Setting(
            "data.fractions",
            {"train": 0.85, "val": 0.15},
            "The data set has a test split of its own; val is carved from train.",
        )
    elif groups >= _FEW_GROUPS or groups < 6:
        few = f", too few even for folds: {groups} of {rarest}" if groups < 6 else ""
        yield Setting(
            "data.fractions",
            {"train": 0.7, "val": 0.15, "test": 0.15},
            f"The rarest class, {rarest}, has {groups:,} groups{few or ': enough for one test split'}.",
        )
    else:
        folds = 5 if groups >= 10 else 3
        yield Setting(
            "data.folds",
            folds,
            f"The rarest class, {rarest}, has {groups} groups: one test split would hold about "
            f"{round(0.15 * groups)} of them, folds test every image once.",
        )
        yield Setting("data.fold", 0, f"The first of {folds}; train all with --set data.fold=0 to {folds - 1}.")
    if found.num_unreadable:
        yield Setting(
            "data.unreadable",
            "exclude",
            f"{found.num_unreadable:,} images cannot be read; they stay in the tables unscored.",
        )


def _augment(found: Fingerprint) -> Iterator[Setting]:
    if found.reader in _SKIN:
        yield Setting("augment.preset", "derm", "A skin lesion has no up and down, and a dermoscope no fixed angle.")
    elif found.reader in _CHESTS:
        yield Setting("augment.preset", "cxr_safe", "The heart lies on one side: nothing is mirrored.")
    else:
        yield Setting("augment.hflip", 0.0, "Left and right may matter; set 0.5 where a mirrored image is as likely.")
        yield Setting("augment.degrees", 5, "Small turns, as from positioning.")
        yield Setting("augment.scale", [0.95, 1.1], "Small changes of distance.")
        yield Setting("augment.translate", 0.05, "Small shifts, as from positioning.")
        yield Setting("augment.brightness", 0.1, "Exposure varies.")
        yield Setting("augment.contrast", 0.1, "Exposure varies.")


def _train(found: Fingerprint) -> Iterator[Setting]:
    images = _num_train(found)
    batch_size = 16 if images < 400 else 32 if images < 20_000 else 64
    epochs = min(60, max(10, round(_STEPS * batch_size / images)))
    yield Setting(
        "train.epochs", epochs, f"About {epochs * images // batch_size:,} steps with {images:,} training images."
    )
    yield Setting("train.batch_size", batch_size, "Small sets need many steps, large ones less noise.")
    yield Setting("train.lr", 7e-4, "Usual for AdamW and a small network from scratch.")
    yield Setting("train.weight_decay", 0.05, "Usual for AdamW.")
    yield Setting("train.warmup_epochs", max(1, epochs // 10), "A tenth of the epochs: attention is unsteady at first.")
    yield Setting("train.clip_grad", 1.0, "Keeps single batches from throwing the network off.")
    yield from _imbalance(found)
    yield Setting("train.select_by", "auroc", "Does not depend on a threshold or on the class shares.")
    yield Setting("train.patience", max(5, epochs // 4), "A quarter of the epochs without a better one.")


def _imbalance(found: Fingerprint) -> Iterator[Setting]:
    """Weights where classes differ, a sampler where they differ much; both would correct twice."""
    ratio = found.imbalance
    if found.is_multi_label:
        yield Setting("train.loss", "bce", "Every finding is a question of its own.")
        return
    if ratio is None:
        return
    if ratio >= _SEVERE:
        yield Setting(
            "train.sampler",
            "balanced",
            f"The largest class has {ratio:.1f} times the images of the smallest: weights of that size make steps "
            "uneven. Probabilities need calibration afterwards.",
        )
    else:
        is_even = ratio < _EVEN
        yield Setting(
            "train.class_weights",
            "none" if is_even else "balanced",
            f"The largest class has {ratio:.1f} times the images of the smallest"
            + (": even enough." if is_even else ". Probabilities need calibration afterwards."),
        )


def _yaml(settings: tuple[Setting, ...], found: Fingerprint) -> str:
    """The recipe as text: above each key its reason."""
    lines = [
        "# Proposed by rule from the fingerprint of the data: a start, not an optimum.",
        "# Fill in what no number can say: question, population and reference standard"
        + (", and the positive class." if len(found.class_images) == 2 and not found.is_multi_label else "."),
    ]
    section = ""
    for setting in settings:
        name, _, key = setting.key.partition(".")
        value = json.dumps(setting.value, ensure_ascii=False)
        if not key:
            lines += [f"{name}: {value}", *_intended_use()]
            continue
        if name == "data" and section != "data":
            lines += _labels(found)
        if name != section:
            lines.append(f"{name}:")
        section = name
        lines += [f"  # {setting.reason}", f"  {key}: {value}"]
    return "\n".join(lines) + "\n"


def _intended_use() -> list[str]:
    return [
        "# intended_use:  # printed on the first page of the report",
        "#   question: what this classifier shall answer",
        "#   population: whose images these are",
        "#   reference_standard: how and by whom the labels were made",
    ]


def _labels(found: Fingerprint) -> list[str]:
    """The class of interest, which only a person can name, as a comment to complete."""
    if found.is_multi_label or len(found.class_images) != 2:
        return []
    first, second = (json.dumps(name, ensure_ascii=False) for name in found.class_images)
    return [
        "# Training needs the class of interest by name. Take away the two # signs and keep one of the two:",
        "# labels:",
        f"#   positive: {first}  # or {second}",
    ]
