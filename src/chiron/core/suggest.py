"""The "did you mean" part of a message."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Returns `Did you mean 'x'?` for the nearest choice, or an empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""
