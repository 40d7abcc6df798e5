"""Limits that follow from the data: whose images they are, what is known of them, what they stand for."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, cases, has_interval, is_multi_label, listed, percent, plural, share_text

MOST_NAMED = 5
FAR_SHARE = 0.05  # a class's share in one split, away from its share in the others
FAR_ERRORS = 3.0  # and so many standard errors of a difference between groups drawn at random
# What people ask of every result first, with the words that a column of it holds.
CHARACTERISTICS = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "skin tone": ("skin_tone", "skintone", "fitzpatrick", "skin_type", "monk", "ita"),
}

Evaluation = Mapping[str, Any]


def patients_unknown(evaluation: Evaluation, context: ReportContext) -> str | None:
    """No patient id, so that images of one patient may count as independent."""
    if context.patients == "known":
        return None
    return (
        f"Patients are unknown. Intervals and splits respect {plural(evaluation['num_groups'], 'group')}; one patient "
        "may be in several of them and in two splits, so intervals may be too narrow and results too good."
    )


def ids_inferred(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The grouping rests on guessed ids."""
    if context.ids != "inferred":
        return None
    return (
        f"Group ids are inferred by the reader {context.reader}, not given by the data set: "
        f"some of the {plural(evaluation['num_groups'], 'group')} may be wrong."
    )


def image_level(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Several images of a group count one by one."""
    if case(evaluation) != "image" or evaluation["num_images"] == evaluation["num_groups"]:
        return None
    return (
        f"The unit is the image: {cases(evaluation)} of "
        f"{plural(evaluation['num_groups'], 'group')} are counted one by one. Results per patient or lesion differ."
    )


def one_source(evaluation: Evaluation, context: ReportContext) -> str | None:
    """All images come from one site."""
    if context.num_sites != 1:
        return None
    return (
        f"One source: all images of training and testing come from one site. How far {cases(evaluation)} speak for "
        "other sites is not known."
    )


def prevalence_unlike_clinic(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The class shares of these images are not, or are not known to be, those of the place of use."""
    counts = evaluation["class_counts"]
    positive = evaluation.get("positive_class")
    named = [positive] if positive else sorted(counts, key=lambda name: -counts[name]["images"])[:1]
    here = f"{named[0]} is {share_text(counts[named[0]]['prevalence'])} of these {case(evaluation)}s"
    if context.clinic_prevalence is None:
        return (
            f"{here}; the prevalence at the place of use is not stated. PPV, NPV, precision, accuracy and calibration "
            "depend on it and do not carry over."
        )
    unlike = [
        f"{name}: {percent(share)} expected, {share_text(counts[name]['prevalence'])} here"
        for name, share in context.clinic_prevalence.items()
        if name in counts and not _within(share, counts[name]["prevalence"])
    ]
    if not unlike:
        return None
    return (
        f"Prevalence unlike the place of use ({listed(unlike, MOST_NAMED)}): PPV, NPV, precision, accuracy and "
        "calibration do not carry over."
    )


def _within(share: float, prevalence: Mapping[str, Any]) -> bool:
    return has_interval(prevalence) and prevalence["low"] <= share <= prevalence["high"]


def unreadable_images(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Images that could not be decoded are not in the numbers."""
    if not context.num_unreadable:
        return None
    verb = "is" if context.num_unreadable == 1 else "are"
    return f"{plural(context.num_unreadable, 'image')} could not be read and {verb} in none of the numbers."


def population_not_described(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Age, sex, sites, devices are not told."""
    if context.population:
        return None
    return (
        f"The population behind the {plural(evaluation['num_groups'], 'group')} is not described: "
        "ages, sexes, sites and devices are unknown to this report."
    )


def reference_not_described(evaluation: Evaluation, context: ReportContext) -> str | None:
    """How the labels were made is not told."""
    if context.reference_standard:
        return None
    return (
        f"The reference standard is not described: who or what labeled the {cases(evaluation)} "
        f"as {listed(list(evaluation['classes']), MOST_NAMED)}, and how reliably, is unknown to this report."
    )


def recorded_characteristics(columns: list[str]) -> list[str]:
    """Which of `CHARACTERISTICS` have a column; found by whole words of its name, so that "image" is no age.

    Example:
        >>> recorded_characteristics(["age_approx", "image", "Sex"])
        ['age', 'sex']
    """
    names = [f"_{name.strip().casefold().replace(' ', '_').replace('-', '_')}_" for name in columns]
    return [what for what, words in CHARACTERISTICS.items() if any(f"_{w}_" in name for w in words for name in names)]


def characteristics_not_recorded(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The images come without a column for age, sex or, in color, skin tone."""
    if context.columns is None:
        return None
    asked = [what for what in CHARACTERISTICS if what != "skin tone" or context.color is not False]
    recorded = recorded_characteristics(context.columns)
    lacking = [what for what in asked if what not in recorded]
    if not lacking:
        return None
    verb = "is" if len(lacking) == 1 else "are"
    there = f" (recorded: {listed([what for what in asked if what in recorded])})" if set(asked) & set(recorded) else ""
    return (
        f"{listed(lacking).capitalize()} {verb} not recorded with these {cases(evaluation)}"
        f"{there}: whether results differ by {'it' if len(lacking) == 1 else 'them'} cannot be known."
    )


def split_unlike_others(evaluation: Evaluation, context: ReportContext) -> str | None:
    """A class is much more or less frequent in one split than in the others."""
    several = is_multi_label(evaluation)
    far = [
        text
        for role in context.splits
        for name in evaluation["classes"]
        if (text := _far(context, role, name, several=several))
    ]
    if not far:
        return None
    return (
        f"Class shares differ between splits: {listed(far, MOST_NAMED)}. What was learned and chosen on one share was "
        "scored on another."
    )


def _images(context: ReportContext, role: str, several: bool) -> int:
    """Images of a split; where one counts for several classes, as Table 1 has them."""
    if several:
        return (context.table_one or {}).get("splits", {}).get(role, {}).get("images", 0)
    return _sum(context.splits[role].values(), "images")


def _far(context: ReportContext, role: str, name: str, *, several: bool) -> str:
    """In words, where the class's share in this split is far from its share in the others; else nothing."""
    here = context.splits[role]
    others = [cells for other, cells in context.splits.items() if other != role]
    images = _images(context, role, several)
    rest = sum(_images(context, other, several) for other in context.splits if other != role)
    if not images or not rest:
        return ""
    share = here[name]["images"] / images if name in here else 0.0
    beside = sum(cells[name]["images"] for cells in others if name in cells) / rest
    groups, more = _sum(here.values(), "groups"), sum(_sum(cells.values(), "groups") for cells in others)
    spread = (beside * (1 - beside) * (1 / max(groups, 1) + 1 / max(more, 1))) ** 0.5
    if abs(share - beside) <= max(FAR_SHARE, FAR_ERRORS * spread):
        return ""
    return f"{name} is {percent(share)} of {role} and {percent(beside)} of the others"


def _sum(cells: Any, key: str) -> int:
    return sum(cell[key] for cell in cells)
