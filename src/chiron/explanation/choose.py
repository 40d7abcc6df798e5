"""What `auto` takes: the explainer that found planted findings best in networks of the same kind."""

from chiron.explanation.subject import Subject

__all__ = ["choose"]


def choose(subject: Subject) -> str:
    """The explainer's name."""
    return "grad_cam"
