"""Provenance: where a bundle comes from. Nothing in it names a person, a path or a machine."""

import re
from typing import Any

from chiron.core.printable import printable
from chiron.spec.frozen import Frozen

DISCLAIMER = (
    "Research use only. Chiron is not a medical device; "
    "a model output is not a diagnosis and does not rule out disease."
)

# cc-by-nc-4.0, fair-noncommercial-research-license; those of Apple's AMLR, SEER and SWAG are for research alone too.
_NONCOMMERCIAL = re.compile(r"(?:^|[^a-z])nc(?:[^a-z]|$)|non-?\s?commercial|amlr|seer|swag")


class WeightsOrigin(Frozen):
    """Where the first weights of a network come from."""

    source: str  # a repository and file of the Hub, or the name of an imported file: never a path or an address
    revision: str | None  # the commit of the repository, where there is one
    license: str | None  # of the weights; None where the source names none
    sha256: str  # of the file
    num_loaded: int  # parameters taken from the file
    num_drawn: int  # parameters drawn at random: the head, and what the source lacks

    @property
    def is_noncommercial(self) -> bool:
        """Whether the license is known to forbid commercial use; a license that is not stated may do so as well."""
        return self.license is not None and _NONCOMMERCIAL.search(self.license.lower()) is not None

    def describe(self) -> str:
        """One line for logs and the model card."""
        revision = f", revision {self.revision[:12]}" if self.revision else ""
        return (
            f"{self.num_loaded:,} parameters from {printable(self.source)}{revision} "
            f"(license: {self.license or 'not stated'}), {self.num_drawn:,} drawn at random"
        )


class Recalibration(Frozen):
    """Where a decision comes from that was fitted again on images of other data; the weights are the former bundle's.

    It speaks of the images alone that it was fitted on; what makes up a unit the decision says.
    """

    former_bundle_id: str
    split: str  # of the other data
    num_images: int
    num_units: int
    num_groups: int
    data_digest: str  # SHA-256 of the content of that part of the manifest


class Provenance(Frozen):
    """What made the weights, as far as it may leave the run folder."""

    created: str  # ISO 8601, UTC
    chiron_version: str
    library_versions: dict[str, str]
    recipe: dict[str, Any]  # the resolved recipe
    data_digest: str  # SHA-256 of the manifest's content
    data_counts: dict[str, dict[str, int]]  # split -> {"images", "groups"}
    grouping: str
    accepted_leaks: int
    init: str
    weights: WeightsOrigin | None = None
    num_parameters: int
    best_epoch: int
    selected_by: str
    selection_value: float | None
    recalibration: Recalibration | None = None
