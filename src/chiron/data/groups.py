"""Groups: connected components over ids. Images that share any id, directly or through others, belong together."""

from collections.abc import Iterable, Sequence

from chiron.core.errors import DataError


def connected_groups(
    sample_ids: Sequence[str], columns: Iterable[Sequence[str | None]], links: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """The group of every sample: `g-<smallest sample_id in it>`, the same for any order of the rows.

    A blank id (None, empty or white space) links nothing: without another id such a sample is its own group.

    Args:
        sample_ids: unique names.
        columns: id columns (patient, lesion, pixel hash, ...), each as long as `sample_ids`. Equal values link inside
            a column, never across columns.
        links: further pairs of sample_ids that belong together.
    Raises:
        DataError: a link names an unknown sample.
    Example:
        >>> connected_groups(["a", "b", "c", "d"], [["p1", "p1", None, None], [None, "l7", "l7", ""]])
        ['g-a', 'g-a', 'g-a', 'g-d']
    """
    parent = list(range(len(sample_ids)))
    for column in columns:
        first: dict[str, int] = {}
        for row, value in enumerate(column):
            if not is_blank(value):
                _join(parent, row, first.setdefault(str(value).strip(), row))
    place = {sample_id: row for row, sample_id in enumerate(sample_ids)}
    for pair in links:
        if unknown := [name for name in pair if name not in place]:
            raise DataError(f"A link must name samples of the data set. Got {unknown[0]!r}. Check the list of links.")
        _join(parent, place[pair[0]], place[pair[1]])
    smallest: dict[int, str] = {}
    roots = [_root(parent, row) for row in range(len(sample_ids))]
    for root, sample_id in zip(roots, sample_ids, strict=True):
        smallest[root] = min(smallest.get(root, sample_id), sample_id)
    return [f"g-{smallest[root]}" for root in roots]


def is_blank(value: str | None) -> bool:
    """Whether an id is unknown."""
    return value is None or not str(value).strip()


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]  # halve the path, so that later walks are short
        row = parent[row]
    return row


def _join(parent: list[int], one: int, other: int) -> None:
    a, b = _root(parent, one), _root(parent, other)
    if a != b:
        parent[max(a, b)] = min(a, b)
