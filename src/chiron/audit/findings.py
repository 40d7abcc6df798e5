"""All that an audit finds in a data set: identity, quality, shortcuts, labels, and a recipe that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from chiron.audit.facts import ImageFacts, measure_images
from chiron.audit.fingerprint import Fingerprint, fingerprint
from chiron.audit.label_suspects import (
    SuspectReport,
    TornGroup,
    suspects_of_folds,
    suspects_without_network,
    torn_groups,
)
from chiron.audit.leaks import LeakReport, find_leaks
from chiron.audit.propose import ProposedRecipe, propose_recipe
from chiron.audit.quality import QualityReport, check_quality
from chiron.audit.shortcuts import ShortcutReport, find_shortcuts, revealing_sentences
from chiron.core.errors import DataError
from chiron.data.copies.pairs import CopyPair
from chiron.data.identity import LabelConflict, label_conflicts
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.data.split import split_sizes


@dataclass(frozen=True)
class Audit:
    """What an audit found. Leaks, conflicts and unreadable images stop a training; everything else is told."""

    manifest: Manifest  # with a column `quality`
    leaks: LeakReport
    conflicts: list[LabelConflict]
    torn: list[TornGroup]
    quality: QualityReport
    shortcuts: ShortcutReport
    suspects: SuspectReport | None  # None, with the reason in `not_done`, where they cannot be looked for
    suspects_from: str
    fingerprint: Fingerprint
    proposed: ProposedRecipe
    not_done: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether a training would refuse this data."""
        return bool(self.leaks.leaks or self.conflicts or self.unreadable)

    @property
    def unreadable(self) -> list[str]:
        """Paths of images that cannot be decoded; a recipe may leave them out."""
        return self.manifest.frame.filter(pl.col("status") == "unreadable")["path"].to_list()

    @property
    def copies(self) -> tuple[CopyPair, ...]:
        """Pairs that count as one picture."""
        return tuple(pair for pair in self.manifest.copies if pair.is_same)

    @property
    def possible_copies(self) -> tuple[CopyPair, ...]:
        """Pairs that a person should look at."""
        return tuple(pair for pair in self.manifest.copies if pair.is_suspect)

    @property
    def has_suspects(self) -> bool:
        """Whether there is anything that `--strict` stops at."""
        return bool(
            self.possible_copies or self.leaks.suspects or self.shortcuts.alarms or self.copies_with_other_labels
        )

    @property
    def copies_with_other_labels(self) -> tuple[CopyPair, ...]:
        """Confirmed copies whose labels differ: one of the two is wrong, or they are no copies."""
        columns = self.manifest.label_columns
        said = {row[0]: row[1:] for row in self.manifest.frame.select("sample_id", *columns).iter_rows()}
        return tuple(pair for pair in self.copies if said[pair.sample_ids[0]] != said[pair.sample_ids[1]])

    def to_json(self) -> dict[str, Any]:
        """Plain values: what `audit.json` holds."""
        return {
            "stops_training": self.stops,
            "source": str(self.manifest.root),
            "reader": self.manifest.reader,
            "grouping": self.manifest.grouping,
            "notes": list(self.manifest.notes),
            "sizes": split_sizes(self.manifest),
            "leaks": self.leaks.to_json(),
            "label_conflicts": [str(conflict) for conflict in self.conflicts],
            "torn_groups": [group.to_json() for group in self.torn],
            "copies": {
                "confirmed": [_pair_json(pair) for pair in self.copies],
                "possible": [_pair_json(pair) for pair in self.possible_copies],
                "with_other_labels": [pair.name for pair in self.copies_with_other_labels],
            },
            "quality": self.quality.to_json(),
            "shortcuts": self.shortcuts.to_json(),
            "would_reveal_the_label": revealing_sentences(self.shortcuts),
            "label_suspects": self.suspects.to_json() if self.suspects else None,
            "label_suspects_from": self.suspects_from,
            "fingerprint": self.fingerprint.to_json(),
            "proposed_recipe": self.proposed.to_json(),
            "not_done": list(self.not_done),
        }


def _pair_json(pair: CopyPair) -> dict[str, Any]:
    return {"sample_ids": list(pair.sample_ids), "score": pair.score, "view": pair.view, "verdict": pair.verdict}


def audit_manifest(manifest: Manifest, *, predictions: Sequence[Path] = (), named: Manifest | None = None) -> Audit:
    """Looks at every image of a manifest.

    Args:
        predictions: tables of networks that did not see the images they predict, one a fold; label suspects come from
            them instead of a small model on simple features.
        named: the same rows under their own names, where `manifest` has none: the order of files may tell the label.
    Raises:
        DataError: tables of predictions do not belong to the manifest, or to each other.
    """
    facts = measure_images(ImageSource(manifest.root), manifest.frame)
    quality, found = check_quality(manifest, facts), fingerprint(manifest, facts)
    suspects, suspects_from, not_done = _suspects(manifest, facts, predictions)
    frame = manifest.frame.drop("quality", strict=False)
    return Audit(
        manifest=replace(manifest, frame=frame.with_columns(quality.column(frame["sample_id"].to_list()))),
        leaks=find_leaks(manifest),
        conflicts=label_conflicts(manifest.frame),
        torn=torn_groups(manifest),
        quality=quality,
        shortcuts=find_shortcuts(_probed(manifest, named), facts),
        suspects=suspects,
        suspects_from=suspects_from,
        fingerprint=found,
        proposed=propose_recipe(found),
        not_done=not_done,
    )


def _probed(manifest: Manifest, named: Manifest | None) -> Manifest:
    if named is None:
        return manifest
    names = named.frame.select("sample_id", "path")
    return replace(manifest, frame=manifest.frame.with_columns(names), copies=())


def _suspects(
    manifest: Manifest, facts: ImageFacts, predictions: Sequence[Path]
) -> tuple[SuspectReport | None, str, tuple[str, ...]]:
    """The suspects, what they come from, and why there are none where there are none."""
    if predictions:
        suspects = suspects_of_folds(predictions)
        known = set(manifest.frame["sample_id"])
        if strangers := [suspect.sample_id for suspect in suspects.suspects if suspect.sample_id not in known]:
            raise DataError(
                f"Tables of predictions must be of the audited images. Got {len(strangers):,} others, for example "
                f"{strangers[0]!r}. Audit the data that these networks were trained on."
            )
        return suspects, f"networks that did not see them ({len(predictions)} tables of predictions)", ()
    try:
        suspects = suspects_without_network(manifest, facts)
    except DataError as error:
        return None, "", (f"Label suspects were not looked for. {error}",)
    return suspects, "a small model on thumbnails, colors and gradients that did not see them", ()
