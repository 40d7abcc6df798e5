"""Whether a bundle's own checks allow an explainer's maps to be shown, and in which words.

A single image recommends nothing: intervals need `MIN_UNITS` units. So the verdict of `chiron evaluate RUN --explain`
and of `chiron explain` on enough images is kept with the bundle, bound to its id, and serves where there are too few.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from chiron.explanation.scores.verdict import MIN_UNITS
from chiron.spec.explainer_check import ExplainerCheck

__all__ = ["BundleStanding", "standing_in_bundle"]


class BundleStanding(NamedTuple):
    """How an explainer stands for a bundle; `words` follow its name: "Grad-CAM is ..."."""

    label: Literal["recommended", "experimental"]
    words: str
    reasons: tuple[str, ...] = ()
    is_checked: bool = True  # whether the bundle keeps a check of it

    @property
    def may_be_shown(self) -> bool:
        """Whether a map may be open on a page; else it is folded away or left out."""
        return self.label == "recommended"


def standing_in_bundle(
    checks: Sequence[ExplainerCheck], method: str, *, class_name: str | None = None
) -> BundleStanding:
    """How `method` stands by the checks of a bundle (`classifier.explainers`): each that counts must recommend it.

    Args:
        class_name: the class that a map explains. A check of one class counts for that class alone; one of each image's
            most probable class counts for all.
    """
    own = [it for it in checks if it.method == method and it.class_name in (None, class_name)]
    failed = [it for it in own if it.label == "experimental"]
    if failed:
        reasons = tuple(f"on {_basis(it)}: {reason}" for it in failed for reason in it.reasons)
        return BundleStanding("experimental", f"experimental for this bundle, by {_basis(failed[0])}", reasons)
    if own:
        return BundleStanding("recommended", f"recommended for this bundle, by {' and '.join(map(_basis, own))}")
    return BundleStanding(
        "experimental",
        "experimental: it was not checked on this bundle",
        (
            f"this bundle keeps no check of it: make one with chiron evaluate RUN --explain {method}, or with chiron "
            f"explain on at least {MIN_UNITS} units",
        ),
        is_checked=False,
    )


def _basis(check: ExplainerCheck) -> str:
    of_class = f", for {check.class_name}" if check.class_name else ""
    findings = ", with their findings known" if check.with_findings else ""
    source = "that were given" if check.source == "given" else f"of its {check.source} split"
    return f"{check.num_images} images {source}{of_class}{findings} ({check.created[:10]})"
