"""No circle among modules: each can be understood, and imported, without those above it."""

import grimp
import networkx


def test_no_circle_among_modules():
    graph = grimp.build_graph("chiron")
    edges = [(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)]
    circles = [found for found in networkx.strongly_connected_components(networkx.DiGraph(edges)) if len(found) > 1]
    assert not circles
