"""Ensemble: several bundles that answer together, such as those of other seeds or folds.

Each bundle is calibrated by itself; the probability is the mean over the bundles. Thresholds and prediction sets were
fitted for one bundle alone and hold for no mean, so that an ensemble has none.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chiron.core.errors import BundleError
from chiron.core.hashing import sha256_json
from chiron.scorer import Outputs, Scorer, StoredImages
from chiron.spec.decision import Decision
from chiron.spec.scope import ScopeSpec


class Ensemble(Scorer):
    """Several scorers as one.

    Raises:
        BundleError: they have other classes, read other pixels, or answer other questions or for another unit.
    """

    logits_say_all = False  # each bundle has its own calibration

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        first = scorers[0]
        for other in scorers[1:]:
            _require_alike(first, other)
        how = first.decision
        super().__init__(
            network_spec=first.network_spec.model_copy(
                update={"members": sum(one.network_spec.members for one in scorers)}
            ),
            input_spec=first.input_spec,
            labels=first.labels,
            provenance=first.provenance,
            decision=Decision(unit=how.unit, combine=how.combine, unit_label=how.unit_label, questions=how.questions),
            intended_use=first.intended_use,
            bundle_id=sha256_json([one.bundle_id for one in scorers])[:16],
            scope=_scope_of_all([one.scope for one in scorers]),
        )
        self.scorers = tuple(scorers)

    def outputs(self, stored: StoredImages) -> Outputs:
        """The logits of all networks, bundle by bundle; distances where every bundle has an out-of-scope score."""
        each = [one.outputs(stored) for one in self.scorers]
        distances = [one.distances for one in each if one.distances is not None]
        logits = np.concatenate([one.logits for one in each])
        return Outputs(logits, np.concatenate(distances) if self.scope is not None else None)

    def probabilities(self, logits: Float[np.ndarray, "members n classes"]) -> Float[np.ndarray, "n classes"]:
        """The mean over the bundles of what each says with its own calibration."""
        parts = zip(self.scorers, self._parts(logits), strict=True)
        return np.mean([one.probabilities(own) for one, own in parts], axis=0)

    def member_probabilities(
        self, logits: Float[np.ndarray, "members n classes"]
    ) -> Float[np.ndarray, "members n classes"]:
        """Probabilities of each network by itself."""
        parts = zip(self.scorers, self._parts(logits), strict=True)
        return np.concatenate([one.member_probabilities(own) for one, own in parts])

    @property
    def is_calibrated(self) -> bool:
        """Whether all bundles are."""
        return all(one.is_calibrated for one in self.scorers)

    def _parts(self, logits: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([one.network_spec.members for one in self.scorers])
        return np.split(logits, ends[:-1])


def _require_alike(first: Scorer, other: Scorer) -> None:
    pairs = {
        "classes": (first.labels, other.labels),
        "input": (first.input_spec, other.input_spec),
        "unit of an answer": (first.decision.unit, other.decision.unit),
        "rule that combines images": (first.decision.combine, other.decision.combine),
        "questions": (first.decision.questions, other.decision.questions),
    }
    for what, (one, two) in pairs.items():
        if one != two:
            raise BundleError(
                f"Bundles that answer together must have the same {what}. Got {_difference(one, two)} in "
                f"{other.bundle_id}. Leave it out."
            )


def _difference(one: object, two: object) -> str:
    """The first part in which they differ: what the first has, and what the other."""
    if hasattr(one, "model_dump") and hasattr(two, "model_dump"):
        mine, yours = one.model_dump(mode="json"), two.model_dump(mode="json")
        name = next(name for name in mine if mine[name] != yours[name])
        return f"{name} {mine[name]} and {yours[name]}"
    return f"{one} and {two}"


def _scope_of_all(scopes: Sequence[ScopeSpec | None]) -> ScopeSpec | None:
    """The scope of all together, by the strictest of their rules; None where one has none."""
    known = [scope for scope in scopes if scope is not None]
    if len(known) < len(scopes):
        return None
    first = known[0]
    return first.model_copy(
        update={
            "quantiles": tuple(row for scope in known for row in scope.quantiles),
            "limit_percent": min(scope.limit_percent for scope in known),
            "least_side_px": max(scope.least_side_px for scope in known),
            "least_detail": max(scope.least_detail for scope in known),
            "colors": first.colors if all(scope.colors == first.colors for scope in known) else "both",
        }
    )
