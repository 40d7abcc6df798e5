"""`BinaryQuestion`: one question that is answered yes or no, asked of images, and its numbers on any part of them."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.auroc import auroc_interval, placements
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.means import Rows, share_estimate
from chiron.metrics.metric import Family

NO_POSITIVE, NO_NEGATIVE = "no image here has the answer yes", "no image here has the answer no"


@dataclass(frozen=True)
class BinaryQuestion:
    """The reference answer, the model's score and its answer at the decision that is judged, one a row.

    Two classes ask for the positive one; of more classes, and of several labels an image, each class is a question.
    """

    name: str
    positive: Bool[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]
    called: Bool[np.ndarray, "n"]
    group_index: Int[np.ndarray, "n"]
    groups_given: bool = True
    confidence: float = 0.95

    def part(self, rows: Bool[np.ndarray, "n"]) -> "BinaryQuestion":
        """The same question, asked of these rows alone."""
        fields = ("positive", "score", "called", "group_index")
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    @property
    def num_groups(self) -> int:
        """Groups with a row here."""
        return self._rows.num_groups

    def sensitivity(self, confidence: float | None = None) -> Estimate:
        """Share of the positive images that are called."""
        return self.share(self.called, self.positive, NO_POSITIVE, confidence)

    def specificity(self, confidence: float | None = None) -> Estimate:
        """Share of the negative images that are not called."""
        return self.share(~self.called, ~self.positive, NO_NEGATIVE, confidence)

    def auroc(self, confidence: float | None = None) -> Estimate:
        """Probability that a positive image scores higher than a negative one."""
        reason = NO_POSITIVE if not self.positive.any() else NO_NEGATIVE if self.positive.all() else None
        rule = RULES[Family.AUROC]
        if reason:
            return self._rows.estimate(np.nan, Interval(None, None, rule.method), reason, self._positive_groups)
        arrays = (self.positive, self.score, self.group_index)
        interval = auroc_interval(*arrays, confidence=confidence or self.confidence)
        sides = [len(np.unique(self.group_index[side])) for side in (self.positive, ~self.positive)]
        note = region_note(rule, min(sides), f"{self._rows.unit} of the smaller side")
        return self._rows.estimate(placements(*arrays).value, interval, note, self._positive_groups)

    def observed_over_expected(self) -> Estimate:
        """Positive images over the sum of the scores as probabilities (1 is best; above 1 the scores are too low).

        The interval is that of the share of positives; the sum of scores is taken as known.
        """
        share = self.share(self.positive, np.ones(len(self.positive), dtype=bool), "no image here")
        expected = float(self.score.mean()) if len(self.score) else 0.0
        method = f"{share.method} over the expected share"
        if share.value is None or expected <= 0:
            note = share.note if share.value is None else "every score here is 0"
            return replace(share, value=None, low=None, high=None, method=method, note=note)
        value, low, high = (None if it is None else it / expected for it in (share.value, share.low, share.high))
        return replace(share, value=value, low=low, high=high, method=method)

    def share(
        self,
        success: Bool[np.ndarray, "n"],
        counted: Bool[np.ndarray, "n"],
        reason: str,
        confidence: float | None = None,
    ) -> Estimate:
        """The share of `success` among the rows that count, with its interval; null with `reason` where none counts."""
        rows = replace(self._rows, confidence=confidence or self.confidence).part(counted)
        return share_estimate(success[counted], rows, positive_groups=self._positive_groups, if_empty=reason)

    def by_group(self, rows: Bool[np.ndarray, "n"]) -> Int[np.ndarray, "_groups"]:
        """How many of the rows each group has, by its number."""
        return np.bincount(self.group_index[rows], minlength=int(self.group_index.max()) + 1)

    @property
    def _rows(self) -> Rows:
        return Rows(self.group_index, self.groups_given, confidence=self.confidence)

    @property
    def _positive_groups(self) -> int:
        return len(np.unique(self.group_index[self.positive]))
