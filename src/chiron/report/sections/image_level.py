"""The image level beside the unit of the headline."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, count
from chiron.report.sections.section import Given, Section, estimates_table
from chiron.report.sentences import combination
from chiron.report.words import word

Evaluation = Mapping[str, Any]


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Both levels in two columns; None where the unit is the image."""
    images = evaluation.get("image_level")
    if not images:
        return None
    rows: list[tuple[str, str, list[Given]]] = [
        (word(key).name, word(key).meaning, [evaluation["overall"].get(key), images["overall"].get(key)])
        for key in evaluation["overall"]
        if key in images["overall"]
    ]
    name = case(evaluation)
    table = estimates_table(
        f"The headline counts each {name} once; beside it the same metrics image by image.",
        [f"{name.capitalize()} ({count(evaluation['num_images'])})", f"Image ({count(images['num_images'])})"],
        rows,
        first="Metric",
    )
    return Section(
        "image-level", f"{name.capitalize()} level and image level", [combination(evaluation["unit"])], [table]
    )
