"""The reference page of others' headline numbers, made of `tests/claims.yaml`: intervals, and what arithmetic says.

`python tests/claims_page.py` writes the page anew; `tests/docs/test_claims_page.py` holds it to the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chiron.core.files import write_text
from chiron.metrics.intervals.proportion import wilson

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "claims.md"
CLAIMS = Path(__file__).with_name("claims.yaml")
Z = 1.959963984540054

INTRODUCTION = """\
# What others claim

Headline numbers of the systems that Chiron rebuilds, and of published results that it is held against, as their sources
write them. **None of the numbers under "claimed" was reproduced here.**
The interval is Wilson's for a share of `n` test images and assumes independent images; where several images are of one
patient or lesion it is too narrow. "Measured" says what this project found on the same data, with the command in the
[README](../../README.md). Sizes of networks: `chiron models audit`.
"""
ON_SHARES = "accuracy", "precision", "sensitivity", "specificity"


def read_claims() -> dict[str, Any]:
    """The data file."""
    return yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))


def page() -> str:
    """The whole page."""
    data = read_claims()
    lines = [
        "| system | model | metric | claimed | n | 95 % interval of the claim | measured | source |",
        "|" + "---|" * 8,
    ]
    lines += ["| " + " | ".join(_cells(claim)) + " |" for claim in data["claims"]]
    checks = [*size_check(data), *confusion_check(data["confusion"]), *_rate_checks(data["claims"])]
    return "\n".join([INTRODUCTION, *lines, "", "## What arithmetic says", "", *(f"- {it}" for it in checks)]) + "\n"


def _cells(claim: Mapping[str, Any]) -> list[str]:
    percent, n = claim["percent"], claim["n"]
    return [
        claim["system"],
        claim["model"],
        claim["metric"],
        "none" if percent is None else f"{percent} %",
        "not stated" if n is None else f"{n:,}",
        _interval(claim),
        claim.get("measured", "not measured"),
        claim["source"],
    ]


def _interval(claim: Mapping[str, Any]) -> str:
    """Wilson's, of the whole number of images that the percentage stands for."""
    if claim["n"] is None or claim["percent"] is None or claim["metric"] not in ON_SHARES:
        return "–"
    low, high = wilson(nearest_count(claim["percent"], claim["n"]), claim["n"], quantile=Z)
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def nearest_count(percent: str, n: int) -> int:
    """The number of images that is nearest to the percentage."""
    return round(float(percent) / 100 * n)


def is_possible(percent: str, n: int) -> bool:
    """Whether a whole number of n images rounds to the percentage as it is written."""
    decimals = len(percent.partition(".")[2])
    return f"{100 * nearest_count(percent, n) / n:.{decimals}f}" == percent


def size_check(data: Mapping[str, Any]) -> Iterator[str]:
    """Which sizes of the test set all accuracies of one README are possible with."""
    asked = data["possible_sizes"]
    first = next(claim["source"] for claim in data["claims"] if claim["system"] == asked["system"])
    stated = [c["percent"] for c in data["claims"] if c["system"] == asked["system"] and c["source"] == first]
    sizes = possible_sizes(stated, range(asked["smallest"], asked["largest"] + 1))
    counts = ", ".join(str(nearest_count(percent, sizes[0])) for percent in stated)
    yield (
        f"{asked['system']}: all {len(stated)} accuracies of its README are whole numbers of {sizes[0]} images "
        f"({counts} right). Of the sizes from {asked['smallest']} to {asked['largest']} only "
        f"{' and '.join(map(str, sizes))} make all of them possible."
    )
    impossible = [percent for percent in stated if not is_possible(percent, asked["stated"])]
    yield (
        f"{asked['system']}: {asked['stated']} test images, {asked['stated_as']} as its README says, would make "
        f"{', '.join(impossible)} impossible. One image of {sizes[0]} is {100 / sizes[0]:.2f} points."
    )


def possible_sizes(stated: Sequence[str], sizes: Sequence[int]) -> list[int]:
    """The sizes of a test set with which every percentage is possible."""
    return [n for n in sizes if all(is_possible(percent, n) for percent in stated)]


def confusion_check(counts: Mapping[str, Any]) -> Iterator[str]:
    """The rates of a confusion matrix."""
    rates = rates_of(counts)
    told = ", ".join(f"{name} {100 * value:.2f} %" for name, value in rates.items())
    yield (
        f"{counts['system']}: the only confusion matrix that gives its accuracy, precision, sensitivity and F1 has "
        f"{counts['tp']} found, {counts['fn']} missed, {counts['tn']} rightly and {counts['fp']} falsely "
        f"alarmed: {told}."
    )
    yield (
        f'{counts["system"]}: the white paper\'s "specificity 98.00 %" is no specificity: that is '
        f"{100 * rates['specificity']:.1f} % ({counts['tn']} of {counts['tn'] + counts['fp']}); "
        f"{100 * rates['NPV']:.1f} % ({counts['tn']} of {counts['tn'] + counts['fn']}) is the negative "
        "predictive value."
    )


def rates_of(counts: Mapping[str, Any]) -> dict[str, float]:
    """What a two-class confusion matrix says."""
    tp, fn, tn, fp = (counts[key] for key in ("tp", "fn", "tn", "fp"))
    return {
        "accuracy": (tp + tn) / (tp + fn + tn + fp),
        "precision": tp / (tp + fp),
        "sensitivity": tp / (tp + fn),
        "F1": 2 * tp / (2 * tp + fp + fn),
        "specificity": tn / (tn + fp),
        "NPV": tn / (tn + fn),
    }


def _rate_checks(claims: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Claimed shares that no whole number of images gives."""
    for claim in claims:
        n, percent = claim["n"], claim["percent"]
        if n is not None and percent is not None and not is_possible(percent, n):
            nearest = nearest_count(percent, n)
            yield (
                f"{claim['system']}, {claim['model']}: a {claim['metric']} of {percent} % is no whole number of {n:,} "
                f"images; the nearest is {nearest:,}, {100 * nearest / n:.2f} %."
            )


if __name__ == "__main__":
    write_text(PAGE, page())
