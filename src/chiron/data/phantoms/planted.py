"""The dials of every phantom: what is planted on purpose, so that an audit or a training can be tried against it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chiron.core.errors import DataError
from chiron.core.suggest import did_you_mean

SHORTCUTS = ("corner_marker", "ruler", "tone")
BASE_RATE = 0.3  # how often a mark stands in images where it does not follow the class


@dataclass(frozen=True)
class Mark:
    """Whether the shortcut's mark is in an image, and whether it stands (or is missing) there because of the class."""

    present: bool
    follows_class: bool


@dataclass(frozen=True)
class Planted:
    """What is planted in a phantom set; the defaults plant nothing.

    Args:
        shortcut: `corner_marker`, `ruler` or `tone` (darker skin, darker exposure): a mark that tells the class of
            interest without showing it; None for no such mark.
        shortcut_strength: probability that the mark follows the class (present exactly where the image shows the class
            of interest); else it comes at random in `BASE_RATE` of the images.
        label_noise: probability that a lesion (chest: a patient) is given a wrong label.
        tone_error: how far the signs of a finding fade in the darkest skin or exposure, 0 (not) to 1 (entirely).
    Raises:
        DataError: an unknown shortcut, a strength without a shortcut, or a number outside 0..1.
    """

    shortcut: str | None = None
    shortcut_strength: float = 1.0
    label_noise: float = 0.0
    tone_error: float = 0.0

    def __post_init__(self) -> None:
        if self.shortcut is not None and self.shortcut not in SHORTCUTS:
            raise DataError(
                f"The shortcut must be one of {', '.join(SHORTCUTS)}. Got {self.shortcut!r}. "
                f"{did_you_mean(self.shortcut, SHORTCUTS) or 'Choose one of these, or none.'}"
            )
        if self.shortcut is None and self.shortcut_strength != 1:
            raise DataError(
                f"shortcut_strength must come with a shortcut. Got {self.shortcut_strength} and no shortcut. "
                f"Name one: {', '.join(SHORTCUTS)}."
            )
        for name in ("shortcut_strength", "label_noise", "tone_error"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} must lie in 0..1. Got {getattr(self, name)}. Choose a value between.")

    def draw_mark(self, rng: np.random.Generator, *, is_of_interest: bool) -> Mark:
        """The mark of one image (`tone`: of one lesion), given whether it shows the class of interest."""
        follows, at_random = rng.uniform() < self.shortcut_strength, rng.uniform() < BASE_RATE
        if self.shortcut is None:
            return Mark(present=False, follows_class=False)
        return Mark(present=bool(is_of_interest if follows else at_random), follows_class=bool(follows))

    def draw_label(self, rng: np.random.Generator, true_label: str, shares: Mapping[str, float]) -> str:
        """The given label: the true one, or in `label_noise` of the cases another, by the others' shares."""
        is_wrong, pick = rng.uniform() < self.label_noise, rng.uniform()
        others = {name: share for name, share in shares.items() if name != true_label and share > 0}
        if not is_wrong or not others:
            return true_label
        upto = np.cumsum(list(others.values())) / sum(others.values())
        return list(others)[min(int(np.searchsorted(upto, pick, side="right")), len(others) - 1)]

    def sign_strength(self, darkness: float) -> float:
        """What is left of the signs of a finding, 0..1; `darkness` is 0 in light skin and 1 in the darkest."""
        return 1 - self.tone_error * darkness

    def outcome(self, mark: Mark, sign_strength: float) -> dict[str, float | int | str]:
        """What was planted in one image, as columns of the truth."""
        return {
            "shortcut": self.shortcut or "none",
            "mark": int(mark.present),
            "mark_follows_class": int(mark.follows_class),
            "sign_strength": round(sign_strength, 4),
        }


NOTHING_PLANTED = Planted()
