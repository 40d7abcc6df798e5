"""One file an explainer, found by its stem; outside packages add theirs by the entry-point group of this name.

A leaf has
    TITLE                                  what it is called in tables
    CLASS_SPECIFIC                         False where the map is the same for every class
    COST                                   one phrase: what an image costs
    why_not(subject) -> str | None         the reason why it cannot explain this network, or None
    explain(subject, *, seed) -> (b, h, w) maps on a grid of its own, 0 or more, larger where the score depends on more
"""
