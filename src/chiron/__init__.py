"""Chiron: medical-image classifiers that can be believed. Research use only; not a medical device."""

from chiron.core.lazy import lazy_attributes
from chiron.version import __version__ as __version__

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "load": "chiron.loading",
        "Classifier": "chiron.classifier",
        "Manifest": "chiron.data.manifest",
        "Recipe": "chiron.spec.recipe",
        "train": "chiron.workflows.train",
        "evaluate": "chiron.workflows.evaluate",
        "predict": "chiron.workflows.predict",
        "explain": "chiron.explanation.explain",
        "export": "chiron.workflows.export",
    },
)
