"""Agreement beyond chance, from confusion matrices: Cohen's kappa, plain and weighted, and Matthews' correlation."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Num

KappaWeights = Literal["none", "linear", "quadratic"]


def kappa_of(
    confusion: Num[np.ndarray, "*batch classes classes"], weights: KappaWeights
) -> Float[np.ndarray, "*batch"]:
    """1 - observed over expected disagreement; NaN where chance alone leaves no disagreement.

    Args:
        weights: what confusing classes i and j costs: none: 1, linear: |i - j|, quadratic: (i - j)^2.
    Source: Cohen 1960, doi:10.1177/001316446002000104; weighted: Cohen 1968, doi:10.1037/h0026256.
    """
    place = np.arange(confusion.shape[-1], dtype=np.float64)
    apart = np.abs(place[:, np.newaxis] - place)
    cost = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    rows, columns = confusion.sum(axis=-1), confusion.sum(axis=-2)
    total = rows.sum(axis=-1)
    observed = (confusion * cost).sum(axis=(-2, -1)) * total
    expected = np.einsum("...i,ij,...j->...", rows.astype(np.float64), cost, columns.astype(np.float64))
    share = np.divide(observed, expected, out=np.full(np.shape(total), np.nan), where=expected > 0)
    return np.asarray(1 - share)


def matthews_of(confusion: Num[np.ndarray, "*batch classes classes"]) -> Float[np.ndarray, "*batch"]:
    """Correlation of reference and predicted classes; NaN where either is one class for every image.

    Source: Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006; for two classes Matthews 1975.
    """
    rows, columns = confusion.sum(axis=-1).astype(np.float64), confusion.sum(axis=-2).astype(np.float64)
    total = rows.sum(axis=-1)
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    covariance = right * total - (rows * columns).sum(axis=-1)
    spread = (total**2 - (rows**2).sum(axis=-1)) * (total**2 - (columns**2).sum(axis=-1))
    return np.divide(covariance, np.sqrt(spread), out=np.full(np.shape(total), np.nan), where=spread > 0)
