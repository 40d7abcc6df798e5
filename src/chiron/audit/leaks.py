"""Leaks: the same patient, group or picture in two splits. Training refuses to start on one.

A leak is a certain id, equal bytes, equal pixels, or a copy that registration confirmed, on both sides. An inferred id
or a possible copy on both sides is a suspect: it is told and stops nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import polars as pl

from chiron.core.errors import DataError, LeakError
from chiron.core.suggest import did_you_mean
from chiron.data.copies.pairs import CopyPair
from chiron.data.groups import connected_groups
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS

SAME_BYTES, SAME_PIXELS, SAME_GROUP = "same bytes", "same pixels", "same group"
COPY, POSSIBLE_COPY = "copy", "possible copy"
_MOST_NAMED = 10


@dataclass(frozen=True)
class LeakPair:
    """One thing that stands in two splits: an id or a picture; named by its first sample on either side."""

    kind: str  # same bytes | same pixels | same patient_id | ... | copy | possible copy | same group
    sample_ids: tuple[str, str]  # the first in each split, in the order of `splits`
    splits: tuple[str, str]
    num_images: tuple[int, int]  # how many images share it in each split

    @property
    def name(self) -> str:
        """`<sample_id>~<sample_id>`, sorted: what an override calls this pair."""
        return "~".join(sorted(self.sample_ids))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "splits": list(self.splits),
            "sample_ids": list(self.sample_ids),
            "num_images": list(self.num_images),
        }


@dataclass(frozen=True)
class LeakReport:
    """Leaks that stop a training, those that were accepted by name, and suspects, which stop nothing."""

    leaks: tuple[LeakPair, ...] = ()
    accepted: tuple[LeakPair, ...] = ()
    suspects: tuple[LeakPair, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all leaks that are not accepted, sorted, each once."""
        return sorted({pair.name for pair in self.leaks})

    @property
    def num_shared(self) -> int:
        """How many ids or pictures the leaks are of: one that stands in three splits makes three pairs."""
        samples = sorted({name for pair in self.leaks for name in pair.sample_ids})
        return len(set(connected_groups(samples, [], [pair.sample_ids for pair in self.leaks])))

    def counts(self) -> dict[str, dict[str, Any]]:
        """kind -> number of pairs, and of images in each split; for leaks that are not accepted."""
        return _counts(self.leaks)

    def to_json(self) -> dict[str, Any]:
        """Plain values: every pair, and counts."""
        return {
            "leaks": [pair.to_json() for pair in self.leaks],
            "accepted": [pair.to_json() for pair in self.accepted],
            "suspects": [pair.to_json() for pair in self.suspects],
            "num_shared": self.num_shared,
            "counts": self.counts(),
            "suspect_counts": _counts(self.suspects),
        }


def find_leaks(manifest: Manifest) -> LeakReport:
    """All ids and pictures that stand in two splits, sorted; images that are unreadable or in no split are left out.

    A picture or id is reported once for each two splits it stands in, with the number of images on both sides.
    """
    frame = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_not_null())
    certain = [name for name, certainty in manifest.id_certainty.items() if certainty == "certain"]
    inferred = [name for name, certainty in manifest.id_certainty.items() if certainty == "inferred"]
    bytes_of = dict(frame.select("sample_id", "bytes_sha256").iter_rows())
    pictures = [_by_bytes(pair, bytes_of) for pair in _crossing(frame, "pixels_sha256", SAME_PIXELS)]
    leaks = pictures + [pair for name in certain for pair in _crossing(frame, name, f"same {name}")]
    suspects = [pair for name in inferred for pair in _crossing(frame, name, f"same {name}")]
    leaks += _copies(frame, COPY, [pair for pair in manifest.copies if pair.is_same])
    suspects += _copies(frame, POSSIBLE_COPY, [pair for pair in manifest.copies if pair.is_suspect])
    leaks += _through_others(manifest, frame, certain, leaks)
    return LeakReport(leaks=tuple(sorted(leaks, key=_order)), suspects=tuple(sorted(suspects, key=_order)))


def require_no_leaks(manifest: Manifest, accepted: Collection[str] = ()) -> LeakReport:
    """The leaks that were accepted by name, and the suspects, when there is no other leak.

    Args:
        accepted: names of pairs, as `LeakPair.name` or `chiron data inspect PATH --leaks FILE` gives them.
    Raises:
        LeakError: a leak that is not accepted; the message counts them and names the first ten.
        DataError: an accepted name that belongs to no leak, so that an old list is noticed.
    """
    found = find_leaks(manifest)
    known = {pair.name for pair in (*found.leaks, *found.suspects)}
    strangers = sorted(set(accepted) - known)
    if strangers:
        raise DataError(
            f"Accepted leaks must be names of leaks in this data. Got {len(strangers):,} that are not: "
            f"{', '.join(strangers[:5])}. {did_you_mean(strangers[0], known)} "
            "`chiron data inspect PATH --leaks FILE` writes the names."
        )
    stopping = tuple(pair for pair in found.leaks if pair.name not in accepted)
    passed = tuple(pair for pair in found.leaks if pair.name in accepted)
    if stopping:
        raise LeakError(_message(LeakReport(stopping)))
    return LeakReport(accepted=passed, suspects=found.suspects)


def _crossing(frame: pl.DataFrame, column: str, kind: str) -> Iterator[LeakPair]:
    """One pair for every value of `column` and every two splits it stands in."""
    cells = (
        frame.filter(pl.col(column).is_not_null())
        .group_by(column, "split")
        .agg(pl.col("sample_id").min(), pl.len().alias("count"))
        .filter(pl.len().over(column) > 1)
    )
    sides: dict[Any, dict[str, tuple[str, int]]] = defaultdict(dict)
    for value, split, sample_id, count in cells.iter_rows():
        sides[value][split] = (sample_id, count)
    for found in sides.values():
        for one, other in combinations([split for split in SPLITS if split in found], 2):
            (first, count), (second, other_count) = found[one], found[other]
            yield LeakPair(kind, (first, second), (one, other), (count, other_count))


def _copies(frame: pl.DataFrame, kind: str, pairs: Iterable[CopyPair]) -> Iterator[LeakPair]:
    """One pair for every two copies that stand in different splits."""
    split_of = dict(frame.select("sample_id", "split").iter_rows())
    for pair in pairs:
        splits = [split_of.get(name) for name in pair.sample_ids]
        if None not in splits and splits[0] != splits[1]:
            first, second = sorted(pair.sample_ids, key=lambda name: SPLITS.index(split_of[name]))
            yield LeakPair(kind, (first, second), (split_of[first], split_of[second]), (1, 1))


def _by_bytes(pair: LeakPair, bytes_of: Mapping[str, str | None]) -> LeakPair:
    """The same pair, called `same bytes` where the two files are equal too."""
    first, second = (bytes_of[name] for name in pair.sample_ids)
    return replace(pair, kind=SAME_BYTES) if first is not None and first == second else pair


def _through_others(
    manifest: Manifest, frame: pl.DataFrame, certain: list[str], direct: Iterable[LeakPair]
) -> list[LeakPair]:
    """Groups in two splits that no single id or picture shows, as further images, perhaps in no split, link them."""
    everything = manifest.frame
    columns = [everything[name].cast(pl.String).to_list() for name in (*certain, "pixels_sha256")]
    groups = connected_groups(everything["sample_id"].to_list(), columns, manifest.copy_links)
    group_of = dict(zip(everything["sample_id"], groups, strict=True))
    grouped = frame.with_columns(pl.Series("_group", [group_of[name] for name in frame["sample_id"]], pl.String))
    told = {(group_of[pair.sample_ids[0]], pair.splits) for pair in direct}
    crossing = _crossing(grouped, "_group", SAME_GROUP)
    return [pair for pair in crossing if (group_of[pair.sample_ids[0]], pair.splits) not in told]


def _order(pair: LeakPair) -> tuple[str, str]:
    return pair.kind, pair.name


def _counts(pairs: Iterable[LeakPair]) -> dict[str, dict[str, Any]]:
    counts: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        cell = counts.setdefault(pair.kind, {"pairs": 0, "between": {}})
        cell["pairs"] += 1
        sums = cell["between"].setdefault(" and ".join(pair.splits), [0, 0])
        sums[0] += pair.num_images[0]
        sums[1] += pair.num_images[1]
    return counts


def _message(report: LeakReport) -> str:
    told = []
    for kind, cell in report.counts().items():
        for splits, (one, other) in cell["between"].items():
            first, second = splits.split(" and ")
            told.append(f"{kind}: {one:,} in {first}, {other:,} in {second}")
    named = ", ".join(report.names[:_MOST_NAMED]) + (", ..." if len(report.names) > _MOST_NAMED else "")
    return (
        f"No patient, group or picture may stand in two splits. Got {report.num_shared:,} that do ({'; '.join(told)}): "
        f"{named}. Split anew with `chiron data split PATH --out FOLDER --ignore-existing`, or write their names with "
        "`chiron data inspect PATH --leaks FILE` and accept them with `--set data.accept_leaks=@FILE`; "
        "every report then says so."
    )
