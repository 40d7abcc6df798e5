"""What a report may say when it leaves the project: no image, no name, no path, no free metadata, no count below five.

`coarse` makes the evaluation fit for it; here are the words around the numbers, and the failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from chiron.core.hashing import keyed_hash
from chiron.report.coarse import FEWEST, OF_OUTPUTS, coarse, coarse_other
from chiron.report.context import ReportContext
from chiron.report.format import count
from chiron.report.gallery import Failure, Gallery
from chiron.report.limits_of_data import recorded_characteristics


def shareable_context(context: ReportContext, key: bytes) -> ReportContext:
    """The same context without names, paths, commands, free metadata and small counts."""
    patients = "Patients are known." if context.patients == "known" else "Patients are unknown."
    return replace(
        context,
        title=context.model if context.model != "not stated" else "Classification report",
        data_source="a data set that is not named",
        grouping=f"Images that belong together form a group. {patients}",
        data_notes=[],
        command="",
        recipe_text=_recipe_text(context.recipe_text),
        leaks_accepted=[keyed_hash(key, name) for name in context.leaks_accepted],
        columns=None if context.columns is None else recorded_characteristics(context.columns),
        num_unreadable=coarse(context.num_unreadable),
        num_patients=None if context.num_patients is None else coarse(context.num_patients),
        splits=_without_shares(context.splits),
        flow=context.flow and {**_coarse_counts(context.flow), "not_scored": _unless_none(context.flow["not_scored"])},
        table_one=context.table_one and {"splits": _coarse_counts(context.table_one["splits"]), "columns": []},
        others=[{**row, "evaluation": coarse_other(row["evaluation"])} for row in context.others],
    )


def shareable_gallery(gallery: Gallery, key: bytes) -> Gallery:
    """The failures without pictures, under hashes; only of pairs of classes with five errors or more, and no more of
    them than the coarse number of errors."""
    shown = [*gallery.random, *gallery.confident]
    pairs = [(failure.reference, failure.output) for failure in {it.sample_id: it for it in shown}.values()]
    most = int(coarse(gallery.num_errors)) if gallery.num_errors >= FEWEST else 0

    def kept(failures: list[Failure]) -> list[Failure]:
        common = [it for it in failures if pairs.count((it.reference, it.output)) >= FEWEST]
        return [replace(it, sample_id=keyed_hash(key, it.sample_id), picture="") for it in common[:most]]

    return Gallery(
        num_errors=coarse(gallery.num_errors),
        num_images=coarse(gallery.num_images),
        unit=gallery.unit,
        random=kept(gallery.random),
        confident=kept(gallery.confident),
    )


def shareable_history(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The epochs without rates of right and wrong outputs: that of the epoch kept may be withheld on this page."""
    told = ("epoch", "lr", "seconds", *(f"{part}_{key}" for part in ("train", "val") for key in ("loss", *OF_OUTPUTS)))
    return [{key: row[key] for key in told if key in row} for row in history]


def _coarse_counts(value: Any) -> Any:
    """A nested value with every whole number made coarse."""
    if isinstance(value, Mapping):
        return {key: _coarse_counts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_coarse_counts(inner) for inner in value]
    return coarse(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_shares(splits: Any) -> Any:
    """The counts of splits; their shares are not told, as those of coarse counts would be wrong."""
    return {
        role: {name: {**_coarse_counts(counts), "share": None} for name, counts in classes.items()}
        for role, classes in splits.items()
    }


def _unless_none(value: int) -> int:
    return coarse(value) if value else 0


def _recipe_text(text: str) -> str:
    """The recipe without the names of samples and columns."""
    if not text:
        return ""
    values = yaml.safe_load(text)
    data = values.get("data", {})
    for name in ("accept_leaks", "group_by"):
        if data.get(name):
            data[name] = [f"{count(len(data[name]))} left out"]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
