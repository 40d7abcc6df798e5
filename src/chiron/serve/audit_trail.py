"""The audit trail, where one is asked for: a line for each output that was told, with the hash of the line before.

It holds when, which bundle, the keyed hash of the input, the output, the thresholds and the version; no image, no file
name, nobody's address. The key lies beside it: who has key and image can find the line, nobody else can.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chiron.audit.sharing_key import sharing_key
from chiron.core.chain import append_to_chain, read_chain
from chiron.scorer import Scorer
from chiron.serve.answers import Result
from chiron.version import __version__

__all__ = ["AuditTrail"]


class AuditTrail:
    """A file that only grows.

    Raises:
        OutputError: the key cannot be written.
        DataError: the key is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.key = path, sharing_key(path.absolute().parent)

    @property
    def is_whole(self) -> bool:
        """Whether no line was changed, removed or put in between."""
        return read_chain(self.path)[1]

    def write(self, scorer: Scorer, asked: str, results: Sequence[Result]) -> None:
        """One line a result, on the disk when this returns.

        Args:
            asked: `predict` or `explain`.
        Raises:
            OutputError: it cannot be written; the output must then not be told.
        """
        for result in results:
            append_to_chain(self.path, _line(scorer, asked, result), sync=True)


def _line(scorer: Scorer, asked: str, result: Result) -> dict[str, Any]:
    output = None if result.prediction is None else result.prediction.model_dump(mode="json", exclude_unset=True)
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "asked": asked,
        "bundle_id": scorer.bundle_id,
        "input": result.input_sha256_keyed,
        "status": result.status,
        "output": None if output is None else {key: it for key, it in output.items() if key != "disclaimer"},
        "thresholds": {it.question: it.value for it in scorer.decision.thresholds},
        "chiron_version": __version__,
    }
