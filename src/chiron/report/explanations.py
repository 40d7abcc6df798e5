"""Words and rows of explanations, from what is stored of them: for the page of `chiron explain` and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiron.report.format import number, plural
from chiron.report.plots.saliency import color_stops
from chiron.report.sections.section import Table, estimates_table
from chiron.report.sentences import RESEARCH_USE

__all__ = ["Explained", "caption_lines", "caption_title", "explanation_view", "score_text"]

# Of one image: what says the most about its map in a line.
ON_CAPTIONS = ("deletion_gain", "insertion_gain", "road", "stability", "randomization", "pointing", "iou", "energy")

Facts = Mapping[str, Any]
LIMITS = (
    "A map shows what the network's answer depends on. It shows no disease, no border of a finding and no cause, and a "
    "map that looks right does not make the answer right.",
    "Beside each map stand two that must differ from it: of a wrong class, and of the same network with its weights "
    "dealt anew, which has learned nothing. A map that looks like these says little about the image and its class.",
)
CONTROLS_SAID = {
    "edges": "Pointing game minus that of a map of the image's edges, on the same images; 0 is no better.",
    "center": "Pointing game minus that of a map that is always largest in the center; 0 is no better.",
    "random": "Pointing game minus that of a random map; 0 is no better.",
}


@dataclass(frozen=True)
class Explained:
    """Maps as they are stored.

    `pictures` holds, by name of image, `image`, `map`, `wrong` and `untrained` as data URIs; empty for a blank map.
    """

    facts: Facts
    pictures: Mapping[str, Mapping[str, str]]


def caption_title(row: Facts) -> str:
    """The class that is explained, and its probability.

    Example:
        >>> caption_title({"class": "nevus", "probability": 0.93449})
        'nevus, probability 0.934'
    """
    return f"{row['class']}, probability {number(row['probability'])}"


def caption_lines(row: Facts, facts: Facts) -> list[str]:
    """Explainer with its verdict, the image's scores, and the notice."""
    return [_verdict_line(facts), f"This map: {score_text(row, facts)}.", f"{facts['notice']} {RESEARCH_USE}"]


def score_text(row: Facts, facts: Facts) -> str:
    """The scores of one image in a line, those that are defined."""
    told = [
        (facts["scores"][name]["title"], row["scores"].get(name)) for name in ON_CAPTIONS if name in facts["scores"]
    ]
    return "; ".join(f"{title.replace(', ', ' ')} {number(value, 2)}" for title, value in told if value is not None)


def explanation_view(explained: Explained) -> dict[str, Any]:
    """What templates show: the verdict with its reasons, the table of scores, and each image with its pictures."""
    facts, pictures = explained.facts, explained.pictures
    rows = facts["images"]
    shown = [_shown(row, facts, pictures[row["image"]]) for row in rows if row["image"] in pictures]
    counted = [row for row in rows if row.get("counted")]
    problems = [row for row in rows if row.get("problem")]
    return {
        "title": facts["title"],
        "words": facts["verdict"]["words"],
        "recommended": facts["verdict"]["label"] == "recommended",
        "reasons": [f"{reason[0].upper()}{reason[1:]}." for reason in facts["verdict"]["reasons"]],
        "rule": facts.get("rule", ""),
        "colors": color_stops(),
        "notice": facts["notice"],
        "limits": LIMITS,
        "table": _table(facts, len(counted)),
        "images": shown,
        "num_maps": len(rows) - len(problems),
        "problems": problems,
    }


def _verdict_line(facts: Facts) -> str:
    """The verdict with its first reason: a picture has no room for all of them."""
    reasons = facts["verdict"]["reasons"]
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{facts['title']}, {facts['verdict']['words']}{f': {reasons[0]}{more}' if reasons else ''}."


def _table(facts: Facts, num_counted: int) -> Table:
    rows = [
        (it["title"], it["meaning"], ["high" if it["better"] == "higher" else "low", it])
        for it in facts["scores"].values()
    ]
    rows += [
        (f"Hits above {control}", CONTROLS_SAID[control], ["high", own["pointing"]])
        for control, own in facts.get("above_controls", {}).items()  # there are none without masks
    ]
    caption = f"Scores of {facts['title']}: the mean over {plural(num_counted, 'image')} with its 95 % interval."
    return estimates_table(caption, ["Better", "Mean"], rows, first="Score")


def _shown(row: Facts, facts: Facts, pictures: Mapping[str, str]) -> dict[str, Any]:
    """One image: its caption and the tiles in their order, each with a text for those who do not see it."""
    said, name, title = row["class"], row["image"], facts["title"]
    wrong = f"Wrong class: {row['wrong_class']}" if facts["class_specific"] else "Any class: the same map"
    tiles: Sequence[tuple[str, str, str]] = (
        ("image", "Seen by the network", f"Image {name} as the network saw it"),
        ("map", f"{title}: {said}", f"{title} of image {name} for {said}"),
        ("wrong", wrong, f"{title} of image {name} for {row['wrong_class']}"),
        ("untrained", "Weights dealt anew", f"{title} of image {name} in a network that has learned nothing"),
    )
    return {
        "name": name,
        "title": caption_title(row),
        "scores": score_text(row, facts),
        "reference": row.get("reference", ""),
        "right": row.get("right"),
        "tiles": [{"picture": pictures[key], "label": label, "alt": alt} for key, label, alt in tiles],
    }
