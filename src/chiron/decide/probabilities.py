"""Logits to probabilities, in plain arrays: what tables, training and every calibrator share."""

import numpy as np
from jaxtyping import Float


def softmax(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Rows that are positive and sum to one."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(logits) else logits
    return raised / raised.sum(axis=1, keepdims=True)


def sigmoid(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Each entry on its own between 0 and 1; without overflow on either side."""
    raised = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, raised) / (1 + raised)


def log_softmax(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """Natural logarithms of rows that sum to one, exact where a probability is too small for a float."""
    lowered = logits - logits.max(axis=1, keepdims=True)
    return lowered - np.log(np.exp(lowered).sum(axis=1, keepdims=True))
