"""Shortcuts: can the label be told without looking at the disease?

Each probe is a small model on simple features, scored out of fold with whole groups. Technical probes (file, frame,
device, site, date, order) form one family of tests under Holm's method; success is an alarm. Trivial signals (tiny
thumbnail, color histogram, age and sex) are shown as the floor that a network has to beat. Columns that say how the
label was made are left out of both and named.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from chiron.audit.facts import ImageFacts
from chiron.audit.probe_scores import (
    ClassAuroc,
    Scored,
    Targets,
    class_auroc,
    grouped_folds,
    mean_auroc,
    permutation_p_value,
    scored_class,
)
from chiron.audit.probes import Kind, Probe, reference_probes, technical_probes, trivial_probes
from chiron.core.hashing import seed_of
from chiron.data.manifest import Manifest
from chiron.metrics.holm import holm

ALPHA = 0.05
MIN_AUROC = 0.60  # below it a difference may be real and is too small to be worth an alarm
MIN_GROUPS = 10  # of a class and of the others, for an interval of the AUROC that holds
MIN_PURE_GROUPS = 20  # of one value of a discrete property, all of one class
FOLDS = 5
_NAMED_GROUPS = 2  # a value in one class only is named from so many groups on
_MOST_NAMED = 20
_DEVELOPMENT = ("train", "val")


@dataclass(frozen=True)
class PureValue:
    """A value of a discrete property whose groups are all of one class."""

    column: str
    value: str
    name: str  # of the class
    num_groups: int
    num_images: int


@dataclass(frozen=True)
class ProbeResult:
    """What one probe can tell: AUROC of every class against the others, their mean, and the verdict."""

    key: str
    title: str
    kind: Kind
    is_constant: bool = False  # the data set shows no difference here: nothing to test
    auroc: float | None = None  # mean over the tested classes; of two classes the one number
    low: float | None = None
    high: float | None = None
    method: str | None = None
    classes: tuple[ClassAuroc, ...] = ()
    pure_values: tuple[PureValue, ...] = ()
    alarm: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class ShortcutReport:
    """All probes of one data set."""

    technical: tuple[ProbeResult, ...]
    trivial: tuple[ProbeResult, ...]
    revealing: tuple[ProbeResult, ...]  # columns of the reference standard
    one_class_values: tuple[PureValue, ...]  # devices, sites, color modes that are seen in one class only
    num_images: int
    num_groups: int
    rows: str
    untested_classes: tuple[str, ...]
    num_tests: int

    @property
    def alarms(self) -> list[str]:
        """One plain sentence for every technical probe that tells the label."""
        return [result.alarm for result in self.technical if result.alarm]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"alarms": self.alarms}


def find_shortcuts(manifest: Manifest, facts: ImageFacts, *, seed: int = 0) -> ShortcutReport:
    """All probes on the rows that a training may see: train, val and rows without a split; labeled and readable.

    The rows of test, cal and external are left out, so that looking for shortcuts is no look at the test set. Where
    every row is of these, all are used.

    Args:
        facts: of all rows of the manifest, in its order.
        seed: of the folds.
    """
    chosen, rows = _chosen_rows(manifest, facts)
    manifest = replace(manifest, frame=manifest.frame[chosen])
    facts = facts.rows(chosen)
    frame, targets = manifest.frame, targets_of(manifest, seed=seed)
    scored = [_score(probe, targets) for probe in technical_probes(frame, facts, manifest.roles)]
    technical, num_tests = _in_one_family(scored, targets)
    floors = [_score(probe, targets) for probe in trivial_probes(frame, facts, manifest.roles)]
    told = [_score(probe, targets) for probe in reference_probes(frame, manifest.roles)]
    named = [value for result in technical for value in result.pure_values]
    return ShortcutReport(
        technical=tuple(technical),
        trivial=tuple(result for result, _ in floors),
        revealing=tuple(result for result, _ in told),
        one_class_values=tuple(sorted(named, key=lambda value: -value.num_groups)[:_MOST_NAMED]),
        num_images=frame.height,
        num_groups=frame["group_id"].n_unique(),
        rows=rows,
        untested_classes=_untested(targets),
        num_tests=num_tests,
    )


def _chosen_rows(manifest: Manifest, facts: ImageFacts) -> tuple[np.ndarray, str]:
    """Row numbers in the order of sample_id, so that the order of a table has no influence, and how to call them."""
    frame = manifest.frame
    labels = manifest.labels.reshape(frame.height, -1)
    usable = (labels >= 0).any(axis=1) & facts.frame["mean"].is_not_null().to_numpy()
    development = frame["split"].is_null() | frame["split"].is_in(_DEVELOPMENT)
    rows = "all labeled images"
    if (usable & development.to_numpy()).any() and not development.all():
        usable &= development.to_numpy()
        rows = "labeled images of train and val, and those without a split"
    order = frame["sample_id"].arg_sort().to_numpy()
    return order[usable[order]], rows


def targets_of(manifest: Manifest, *, seed: int = 0) -> Targets:
    """What is to be told apart in the rows of a manifest, and its folds; rows must be labeled."""
    labels = manifest.labels
    if manifest.is_multi_label:
        positive, known = labels == 1, labels >= 0
        rarity = np.argsort(np.argsort(positive.sum(axis=0)))
        has_any = positive.any(axis=1)
        strata = np.where(has_any, np.where(positive, rarity, len(rarity)).argmin(axis=1), len(rarity))
    else:
        positive = labels[:, None] == np.arange(len(manifest.classes))
        known, strata = np.ones_like(positive), labels
    group_index = np.unique(manifest.frame["group_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    tested = [k for k in range(len(manifest.classes)) if _has_enough_groups(positive[:, k], known[:, k], group_index)]
    fold = grouped_folds(strata, group_index, folds=FOLDS, seed=seed) if tested else np.zeros(len(strata), np.int64)
    targets = Targets(manifest.classes, positive, known, group_index, fold, tuple(tested), manifest.is_multi_label)
    return replace(targets, tested=targets.tested[1:]) if targets.is_one_question else targets


def _has_enough_groups(positive: np.ndarray, known: np.ndarray, group_index: np.ndarray) -> bool:
    sides = (group_index[known & positive], group_index[known & ~positive])
    return all(len(np.unique(side)) >= MIN_GROUPS for side in sides)


def _untested(targets: Targets) -> tuple[str, ...]:
    """Classes with too few groups on a side."""
    tested = set(range(len(targets.names))) if targets.is_one_question and targets.tested else set(targets.tested)
    return tuple(name for k, name in enumerate(targets.names) if k not in tested)


def _score(probe: Probe, targets: Targets) -> tuple[ProbeResult, list[Scored]]:
    """A probe's numbers, each as if it were the only test, and the scores that they come from."""
    result = ProbeResult(probe.key, probe.title, probe.kind, is_constant=not probe.features.shape[1])
    if result.is_constant:
        return result, []
    pure = tuple(_pure_values(probe, targets)) if probe.values is not None else ()
    if not targets.tested:
        return replace(result, pure_values=pure), []
    parts = [scored_class(probe.features, targets, k, is_discrete=probe.is_discrete) for k in targets.tested]
    value, interval = mean_auroc(parts)
    classes = tuple(_tested(probe, targets, k, part) for k, part in zip(targets.tested, parts, strict=True))
    return (
        replace(
            result,
            auroc=value,
            low=interval.low,
            high=interval.high,
            method=interval.method,
            classes=classes,
            pure_values=pure,
        ),
        parts,
    )


def _tested(probe: Probe, targets: Targets, k: int, part: Scored) -> ClassAuroc:
    """One class; where its interval speaks for a technical probe, the labels are permuted too."""
    found = class_auroc(targets.names[k], part)
    if probe.kind != "technical" or found.p_value >= ALPHA:
        return found
    seed = seed_of("shortcut", probe.key, found.name)
    p_value = permutation_p_value(found.value, probe.features, targets, k, seed=seed)
    return found if p_value is None else replace(found, p_value=max(found.p_value, p_value))


def _in_one_family(
    scored: Sequence[tuple[ProbeResult, list[Scored]]], targets: Targets
) -> tuple[list[ProbeResult], int]:
    """The technical probes with Holm's adjustment over all of them and all their classes, and their verdicts."""
    p_values = [found.p_value for result, _ in scored for found in result.classes]
    adjusted = iter(zip(*holm(p_values), strict=True))
    results = []
    for result, parts in scored:
        classes = []
        for found, part in zip(result.classes, parts, strict=True):
            p_value, divisor = next(adjusted)
            low = part.interval(confidence=1 - ALPHA / divisor).low
            classes.append(replace(found, adjusted_p=p_value, low_adjusted=low))
        result = replace(result, classes=tuple(classes))
        results.append(replace(result, alarm=_alarm(result, targets)))
    return results, len(p_values)


def _alarm(result: ProbeResult, targets: Targets) -> str | None:
    """One sentence where a class is told above chance, and by enough: an AUROC of 0.60, or a value of its own."""
    above = [found for found in result.classes if found.adjusted_p < ALPHA]
    own = [value for value in result.pure_values if value.num_groups >= MIN_PURE_GROUPS]
    strong = [found for found in above if found.value >= MIN_AUROC]
    if not strong and not (above and own):
        return None
    best = max(strong or above, key=lambda found: found.value)
    sentence = f"From the {result.title} alone, {_told_apart(best.name, targets)}: AUROC {best.value:.2f}"
    sentence += f" (95 % interval {best.low:.2f} to {best.high:.2f})" if best.low is not None else ""
    if own:
        most = max(own, key=lambda value: value.num_groups)
        sentence += f"; {most.value} stands in {most.num_groups:,} groups, all of them {most.name}"
    return f"{sentence}."


def _told_apart(name: str, targets: Targets) -> str:
    if targets.is_multi_label:
        return f"images with {name} can be told from those without"
    other = next(other for other in targets.names if other != name) if len(targets.names) == 2 else "the other classes"
    return f"{name} can be told from {other}"


def _pure_values(probe: Probe, targets: Targets) -> list[PureValue]:
    """Values of a discrete property, held by at least two groups, whose rows are all of one class."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(probe.values or ()):
        rows_of[value].append(row)
    found = []
    for value, rows in sorted(rows_of.items()):
        groups = len(np.unique(targets.group_index[rows]))
        whole = (targets.positive[rows] & targets.known[rows]).all(axis=0)
        if groups >= _NAMED_GROUPS and whole.any():
            name = targets.names[int(whole.argmax())]
            found.append(PureValue(probe.key.removeprefix("column:"), value, name, groups, len(rows)))
    return found


def revealing_sentences(report: ShortcutReport) -> list[str]:
    """One sentence for each column of the reference standard: it would reveal the label and is no input."""
    told = []
    for result in report.revealing:
        sentence = f"The {result.title} says how the label was made and would reveal it"
        if result.auroc is not None:
            sentence += f" (AUROC {result.auroc:.2f})"
        if result.pure_values:
            most = max(result.pure_values, key=lambda value: value.num_groups)
            sentence += f": {most.value} stands in {most.num_groups:,} groups, all of them {most.name}"
        told.append(f"{sentence}. It is never an input.")
    return told
