from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "validity" / "intervals.md"


def page() -> str:
    return ""
