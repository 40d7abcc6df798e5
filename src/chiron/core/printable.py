"""Text of foreign files, such as names of tensors, as it can be shown without changing what stands around it."""

import re

_MARKDOWN = re.compile(r"([\\`*\[\]<>|#!])")


def printable(text: str) -> str:
    """`text` on one line; what a terminal would obey, such as a line's end or an escape, as Python writes it.

    Example:
        >>> printable("a\\nb")
        'a\\\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def as_markdown(text: str) -> str:
    """`text` on one line of a Markdown page that shows it as it is: no heading, link, picture or tag comes of it."""
    return _MARKDOWN.sub(r"\\\1", printable(text))
