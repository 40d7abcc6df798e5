"""The image level beside the unit of the headline."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, count
from chiron.report.sections.section import Given, Section, estimates_table
from chiron.report.sentences import combination
from chiron.report.words import grouped_keys, word

Evaluation = Mapping[str, Any]


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Both levels in two columns; None where the unit is the image."""
    images = evaluation.get("image_level")
    if not images:
        return None
    name = case(evaluation)
    keys = [key for _, found in grouped_keys(list(evaluation["overall"])) for key in found if key in images["overall"]]
    rows: list[tuple[str, str, list[Given]]] = [
        (
            word(key).name,
            word(key).meaning.replace("images", f"{name}s or images").replace("image ", f"{name} or image "),
            [evaluation["overall"][key], images["overall"][key]],
        )
        for key in keys
    ]
    table = estimates_table(
        f"The headline counts each {name} once; beside it the same metrics image by image.",
        [f"{name.capitalize()} ({count(evaluation['num_images'])})", f"Image ({count(images['num_images'])})"],
        rows,
        first="Metric",
        methods_by="row",
    )
    return Section(
        "image-level", f"{name.capitalize()} level and image level", [combination(evaluation["unit"])], [table]
    )
