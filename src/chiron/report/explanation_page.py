"""The page of `chiron explain`: the verdict on the explainer, its scores, and maps beside those they must differ from."""

from collections.abc import Mapping
from typing import Any

from chiron.report.explanations import explanation_view
from chiron.report.plots.saliency import color_stops
from chiron.report.sentences import RESEARCH_USE
from chiron.report.templating import templates
from chiron.version import __version__

__all__ = ["render_explanations"]


def render_explanations(facts: Mapping[str, Any], pictures: Mapping[str, Mapping[str, str]]) -> str:
    """The page as HTML, without script and network; the same input gives the same text.

    Args:
        facts: what `chiron explain` stores as JSON.
        pictures: by name of image: `image`, `map`, `wrong` and `untrained` as data URIs, empty for a blank map.
    """
    return (
        templates()
        .get_template("explanations_page.html.j2")
        .render(
            model=facts["model"],
            bundle_id=facts["bundle_id"],
            explained=explanation_view(facts, pictures),
            colors=color_stops(),
            research_use=RESEARCH_USE,
            version=__version__,
        )
    )
