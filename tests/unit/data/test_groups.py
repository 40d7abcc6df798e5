"""Connected components over ids."""

import itertools

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.groups import connected_groups

IDS = st.lists(st.tuples(*[st.sampled_from([None, "", " ", "1", "2", "3", "4"])] * 2), max_size=12)


def test_ids_join_through_others_but_not_across_columns():
    patients = ["p1", "p1", None, None, "x"]
    lesions = [None, "l7", "l7", "x", None]
    assert connected_groups(list("abcde"), [patients, lesions]) == ["g-a", "g-a", "g-a", "g-d", "g-e"]


def test_links_join_and_must_be_known():
    assert connected_groups(["b", "a", "c"], [], [("b", "c")]) == ["g-b", "g-a", "g-b"]
    with pytest.raises(DataError, match="Got 'z'"):
        connected_groups(["a"], [], [("a", "z")])


@given(IDS)
def test_groups_equal_those_of_a_graph_library(rows):
    names = [f"s{index}" for index in range(len(rows))]
    graph = networkx.Graph()
    graph.add_nodes_from(names)
    for (one, ids), (other, other_ids) in itertools.combinations(zip(names, rows, strict=True), 2):
        if any(a == b and (a or "").strip() for a, b in zip(ids, other_ids, strict=True)):
            graph.add_edge(one, other)
    expected = {name: f"g-{min(part)}" for part in networkx.connected_components(graph) for name in part}
    columns = list(zip(*rows, strict=True)) or [(), ()]
    assert connected_groups(names, columns) == [expected[name] for name in names]


@given(IDS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))))
def test_groups_do_not_depend_on_the_order_of_rows(drawn):
    rows, order = drawn
    names = [f"s{index}" for index in range(len(rows))]
    columns = list(zip(*rows, strict=True)) or [(), ()]
    plain = dict(zip(names, connected_groups(names, columns), strict=True))
    mixed_names = [names[index] for index in order]
    mixed = connected_groups(mixed_names, [[column[index] for index in order] for column in columns])
    assert dict(zip(mixed_names, mixed, strict=True)) == plain
