"""The page of what explainers found, from the evidence of `chiron bench explainers` alone."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["page"]

_HEAD = """# Explainers and what they found

A map shows where a network reacted, not where disease is. What a method's maps are worth can be measured where the
truth is known: on phantom radiographs, in which opacities were drawn at known places. The class is always that of the
finding, and only images count whose findings leave the middle ninth of the image free. Every interval is of 95 % and
accounts for patients. *Hit rate* is the pointing game: the largest place of the map lies in a finding or within 15 of
224 parts of the image's side of one. *Above edges, center, random* are paired differences of hit rates to maps that
know nothing of the network: Sobel edges, a Gaussian about the center, random values on a 7 x 7 grid.

An explainer is **recommended** for a kind of network where all of these hold by the limits of intervals: it hits more
than each control, deletion or insertion gains against random maps, its maps are stable under noise, and they change
with the weights (rank correlation with networks that have learned nothing below 0.5). All others are **experimental**,
and are called so wherever they are offered. A network below a test AUROC of .95 is told but does not count.

The networks are those that `chiron bench explainers` trains by itself where no `--bundles` are given: packaged recipes
on 2,000 other phantoms, one seed each.
"""
_TELL = {
    "iou": "IoU",
    "energy": "energy inside",
    "deletion_gain": "deletion, gain",
    "insertion_gain": "insertion, gain",
    "road": "ROAD",
    "stability": "stability",
    "randomization": "randomization",
}


def page(evidence: Mapping[str, Any]) -> str:
    """Markdown: a section a network, with a table of where maps point and one of the other scores."""
    made, phantoms = evidence["made"], evidence["phantoms"]
    lines = [
        _HEAD,
        f"Measured by `{made['command']}` on {made['date']} with Chiron {made['chiron']}, torch "
        f"{made['libraries']['torch']}: {phantoms['num_images']} {phantoms['kind']} images of difficulty "
        f"{phantoms['difficulty']}, seed {phantoms['seed']}.\n",
    ]
    for network in evidence["networks"]:
        lines += _network(network)
    return "\n".join(lines)


def _network(network: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {network['name']}: {network['model']}, {network['kind']}\n"
    counts = "" if network["counts"] else " **Below .95: told, and no evidence.**"
    yield (
        f"{network['img_size']} px; test AUROC {_shown(network['auroc'])}; {network['num_images']} images of "
        f"{network['num_patients']} patients with findings off the center.{counts}\n"
    )
    found = dict(sorted(network["explainers"].items(), key=lambda it: -it[1]["estimates"]["pointing"]["value"]))
    yield "| explainer | hit rate | small | middle | large | above edges | above center | above random | standing |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, it in found.items():
        cells = [_shown(it["estimates"]["pointing"]), *(_shown(size) for size in it["by_size"].values())]
        cells += [_shown(difference["pointing"], signed=True) for difference in it["differences"].values()]
        yield f"| `{name}` | {' | '.join(cells)} | {'recommended' if it['recommended'] else 'experimental'} |"
    yield f"\n| explainer | {' | '.join(_TELL.values())} | ms an image |"
    yield "|---" * (len(_TELL) + 2) + "|"
    for name, it in found.items():
        cells = [_shown(it["estimates"][score]) for score in _TELL]
        yield f"| `{name}` | {' | '.join(cells)} | {1000 * it['seconds_per_image']:.0f} |"
    if reasons := {name: it["reasons"] for name, it in found.items() if it["reasons"]}:
        yield "\nWhy experimental:\n"
        yield from (f"- `{name}`: {'; '.join(it)}." for name, it in reasons.items())
    if network["left_out"]:
        yield "\nDo not fit: " + ", ".join(f"`{name}`" for name in network["left_out"]) + "."
    if any("where" in it for it in found.values()):
        yield "\nWhere maps point, with the planted mark:\n"
        yield from (f"- `{name}`: {it['where']['words']}" for name, it in found.items())
    yield ""


def _shown(it: Mapping[str, Any], *, signed: bool = False) -> str:
    form = "+.2f" if signed else ".2f"
    if it["value"] is None:
        return "undefined"
    if it["low"] is None or it["high"] is None:
        return f"{it['value']:{form}}"
    return f"{it['value']:{form}} ({it['low']:{form}} to {it['high']:{form}})"
