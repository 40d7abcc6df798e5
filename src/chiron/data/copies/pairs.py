"""Pairs of images that may be copies of one another, what a person says of them, and `duplicates.csv`.

A pair that registration confirmed counts as one picture until a person says `different`; one that is only close counts
as two until a person says `same`. Source of the grades: near-duplicates are leaks only once their pixels were aligned.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from chiron.core.errors import DataError, reason_of
from chiron.core.files import write_text
from chiron.core.suggest import did_you_mean

DUPLICATES = "duplicates.csv"
Verdict = Literal["same", "different", "unsure"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
_COLUMNS = ("sample_id_1", "sample_id_2", "grade", "score", "view", "verdict")


@dataclass(frozen=True)
class CopyPair:
    """Two images and how alike they are.

    Attributes:
        sample_ids: sorted.
        confirmed: by registration of their pixels; otherwise a suspect.
        score: correlation of the aligned images, at most 1; None for a pair that a person added.
        view: how one has to be turned to lie on the other.
        verdict: what a person says; None where nobody looked.
    """

    sample_ids: tuple[str, str]
    confirmed: bool
    score: float | None
    view: str
    verdict: Verdict | None = None

    @property
    def is_same(self) -> bool:
        """Whether both count as one picture, which joins their groups and is a leak across splits."""
        return self.verdict == "same" or (self.confirmed and self.verdict != "different")

    @property
    def is_suspect(self) -> bool:
        """Whether a person should look at them: not one picture, and nobody has said that they are two."""
        return not self.is_same and self.verdict != "different"

    @property
    def name(self) -> str:
        """`<sample_id>~<sample_id>`, as leaks are named."""
        return "~".join(self.sample_ids)


def ordered(one: str, other: str) -> tuple[str, str]:
    """Two sample ids as a pair names them."""
    return (one, other) if one < other else (other, one)


def with_verdicts(found: Iterable[CopyPair], known: Iterable[CopyPair]) -> tuple[CopyPair, ...]:
    """What was found now, with what a person said of the same pairs before; pairs that a person judged stay."""
    said = {pair.sample_ids: pair for pair in known if pair.verdict is not None}
    pairs = {
        pair.sample_ids: replace(pair, verdict=said[pair.sample_ids].verdict) if pair.sample_ids in said else pair
        for pair in found
    }
    return sorted_pairs((said | pairs).values())


def sorted_pairs(pairs: Iterable[CopyPair]) -> tuple[CopyPair, ...]:
    """Confirmed pairs first, in each grade the most alike first."""
    return tuple(sorted(pairs, key=lambda pair: (not pair.confirmed, -(pair.score or 0.0), pair.sample_ids)))


def write_pairs(path: Path, pairs: Sequence[CopyPair]) -> None:
    """Writes `duplicates.csv`: a row a pair, with a column for a person's verdict.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [
        (
            *pair.sample_ids,
            "confirmed" if pair.confirmed else "suspect",
            None if pair.score is None else f"{pair.score:.4f}",
            pair.view or None,
            pair.verdict,
        )
        for pair in pairs
    ]
    write_text(path, pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row").write_csv())


def read_pairs(path: Path, sample_ids: Iterable[str]) -> tuple[CopyPair, ...]:
    """The pairs of a `duplicates.csv`, checked; a person may add rows with two sample ids and a verdict alone.

    Raises:
        DataError: the file is no such table, names an unknown sample, or holds a verdict that is none.
    """
    try:
        data = path.read_bytes()
        header = data.partition(b"\n")[0]
        separator = ";" if header.count(b";") > header.count(b",") else ","  # as spreadsheets write in some languages
        frame = pl.read_csv(io.BytesIO(data), infer_schema=False, separator=separator)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"duplicates.csv must be a readable CSV file in UTF-8. Got {reason_of(error)} at {path}. Put it back."
        ) from error
    needed = ("sample_id_1", "sample_id_2", "verdict")
    if missing := [name for name in needed if name not in frame.columns]:
        raise DataError(
            f"duplicates.csv must have the columns {', '.join(needed)}. Got no {missing[0]!r} in {path}. Put it back."
        )
    known = set(sample_ids)
    pairs: dict[tuple[str, str], CopyPair] = {}
    for row in frame.fill_null("").iter_rows(named=True):
        names = sorted((row["sample_id_1"].strip(), row["sample_id_2"].strip()))
        verdict = row["verdict"].strip().lower()
        _check_row(names, verdict, known, path)
        grade, score = row.get("grade", ""), row.get("score", "")
        try:
            number = float(score) if score else None
        except ValueError as error:
            raise DataError(f"A score must be a number. Got {score!r} for {names[0]} in {path}. Mend it.") from error
        pair = CopyPair((names[0], names[1]), grade == "confirmed", number, row.get("view", ""), verdict or None)
        if pairs.setdefault(pair.sample_ids, pair).verdict != pair.verdict:
            raise DataError(
                f"A pair must have one verdict. Got {pairs[pair.sample_ids].verdict or 'none'} and "
                f"{pair.verdict or 'none'} for {names[0]} and {names[1]} in {path}. Remove one row."
            )
    return sorted_pairs(pairs.values())


def _check_row(names: list[str], verdict: str, known: set[str], path: Path) -> None:
    if verdict not in ("", *VERDICTS):
        raise DataError(
            f"A verdict must be {', '.join(VERDICTS)} or nothing. Got {verdict!r} for {names[0]} and {names[1]} in "
            f"{path}. {did_you_mean(verdict, VERDICTS)}".rstrip()
        )
    if names[0] == names[1] or (strangers := [name for name in names if name not in known]):
        got = f"{names[0]!r} twice" if names[0] == names[1] else f"{strangers[0]!r}, which is none"
        raise DataError(f"A pair of copies must be two samples of the manifest. Got {got}, in {path}. Mend the row.")
