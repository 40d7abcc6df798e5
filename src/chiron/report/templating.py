"""The templates of all pages, and what they may call."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from chiron.report import format as formats


def templates() -> Environment:
    """Templates that escape what they show, and refuse a name that they were not given."""
    environment = Environment(
        loader=PackageLoader("chiron.report"),
        autoescape=True,  # class names, notes and recipes are foreign text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["fmt"] = formats
    return environment
