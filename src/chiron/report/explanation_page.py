"""The page of `chiron explain`: verdict on the explainer, its scores, and maps beside those they must differ from."""

from chiron.report.explanations import Explained, explanation_view
from chiron.report.sentences import RESEARCH_USE
from chiron.report.templating import templates
from chiron.version import __version__

__all__ = ["render_explanations"]


def render_explanations(explained: Explained) -> str:
    """The page as HTML, without script and network; the same input gives the same text."""
    return (
        templates()
        .get_template("explanations_page.html.j2")
        .render(
            model=explained.facts["model"],
            bundle_id=explained.facts["bundle_id"],
            explained=explanation_view(explained),
            research_use=RESEARCH_USE,
            version=__version__,
        )
    )
