"""Dealing classes to lesions, so that shares hold closely and even small sets get every class."""

from collections.abc import Iterator, Mapping, Sequence

from chiron.core.errors import DataError
from chiron.data.phantoms.canvas import generator_of

BLOCK = 50  # lesions that are dealt and shuffled together
_AT_LEAST = 3  # lesions of every class, one a block: enough for train, val and test


def deal_classes(shares: Mapping[str, float], *names: int | str) -> Iterator[str]:
    """The class of one lesion after the other, without end; a function of `shares` and `names` alone.

    Each block of 50 lesions brings every class to its share of all lesions so far (Sainte-Laguë's rule, so within one
    lesion), but to no fewer than one a block over the first three. Inside a block the order is random.
    """
    counts = dict.fromkeys((name for name, share in shares.items() if share > 0), 0)
    for block in range(10**9):
        least = min(block + 1, _AT_LEAST)
        dealt = []
        for _ in range(BLOCK):
            name = max(counts, key=lambda name: (counts[name] < least, shares[name] / (counts[name] + 0.5)))
            counts[name] += 1
            dealt.append(name)
        generator_of(*names, "deal", block).shuffle(dealt)
        yield from dealt


def normalized_shares(asked: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """A share for every class, in the order of `classes`, summing to 1; classes that are not named get none.

    Raises:
        DataError: a name is no class, a share is negative, or none is positive.
    """
    if unknown := sorted(set(asked) - set(classes)):
        raise DataError(f"class_shares must name {', '.join(classes)}. Got {', '.join(unknown)}. Use these codes.")
    if min(asked.values(), default=0) < 0 or sum(asked.values()) <= 0:
        raise DataError(f"class_shares must not be negative, one must be positive. Got {dict(asked)}. Raise one.")
    return {name: asked.get(name, 0.0) / sum(asked.values()) for name in classes}
