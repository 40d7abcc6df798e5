"""Keeps the verdict on an explainer with the bundle, for images that are too few to tell by themselves."""

import logging
from pathlib import Path

from chiron.bundle import read_explainer_checks, write_explainer_checks
from chiron.classifier import Classifier
from chiron.core.errors import OutputError
from chiron.report.explanations import Facts
from chiron.spec.explainer_check import CheckedMean, ExplainerCheck
from chiron.version import __version__
from chiron.workflows.look import now

__all__ = ["keep_check"]

log = logging.getLogger("chiron.explain")


def keep_check(bundle: Path, classifier: Classifier, facts: Facts, *, source: str) -> None:
    """Puts the verdict in `facts` beside the bundle, in place of an earlier answer to the same question.

    A verdict on too few units is not kept. Where the folder cannot be written, a warning says so: maps and scores are
    made all the same.

    Args:
        source: which images it rests on: a split of the run, or "given".
    """
    found = facts["verdict"]
    if found["from_bundle"] or not found["has_enough"]:
        return
    check = ExplainerCheck(
        method=facts["method"],
        title=facts["title"],
        label=found["label"],
        reasons=tuple(found["reasons"]),
        means={
            name: CheckedMean(value=it["value"], low=it["low"], high=it["high"]) for name, it in facts["scores"].items()
        },
        source=source,
        num_images=found["num_images"],
        num_units=found["num_units"],
        class_name=facts["class_asked"],
        with_findings=bool(facts["above_controls"]),
        created=now(),
        chiron_version=__version__,
    )
    others = [it for it in read_explainer_checks(bundle, classifier.bundle_id) if it.question != check.question]
    try:
        write_explainer_checks(bundle, classifier.bundle_id, [*others, check])
    except OutputError as error:
        log.warning("the verdict is not kept with the bundle: %s", error)
        return
    classifier.explainers = (*others, check)
