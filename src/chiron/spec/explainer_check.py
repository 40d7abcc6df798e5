"""ExplainerCheck: what the scores of an explainer's maps said of a bundle, kept beside its weights."""

from typing import Literal

from chiron.spec.frozen import Frozen

__all__ = ["CheckedMean", "ExplainerCheck"]


class CheckedMean(Frozen):
    """The mean of a score with its interval; null where undefined."""

    value: float | None
    low: float | None
    high: float | None


class ExplainerCheck(Frozen):
    """The verdict on one explainer, and what it rests on. Nothing in it names an image or a person."""

    method: str
    title: str
    label: Literal["recommended", "experimental"]
    reasons: tuple[str, ...]  # why it is experimental
    means: dict[str, CheckedMean]  # by the keys of `chiron.explanation.scores.table.SCORES`
    source: str  # the split of the run, or "given" to `chiron explain`
    num_images: int
    num_units: int
    class_name: str | None  # the class that was explained; None: each image's most probable one
    with_findings: bool  # whether known findings were weighed
    created: str  # ISO 8601, UTC
    chiron_version: str

    @property
    def question(self) -> tuple[str, str, str | None, bool]:
        """What was asked: a later check of the same question replaces an earlier one."""
        return self.method, self.source, self.class_name, self.with_findings
