"""How data sets, splits and folds are told on the command line."""

from typing import Any

from chiron.cli.options import say, say_table


def say_data(described: dict[str, Any]) -> None:
    """What a data set holds: classes by split, and what is wrong with it."""
    _say_source(described)
    for note in described["notes"]:
        say(f"note: {note}")
    say_table(
        ["split", "class", "images", "groups", "% of images", "% of groups"],
        [
            (
                *(split, name, f"{cell['images']:,}", f"{cell['groups']:,}"),
                *(f"{100 * cell['share']:.1f}", f"{100 * cell['group_share']:.1f}"),
            )
            for split, classes in described["splits"].items()
            for name, cell in classes.items()
        ],
    )
    _say_problems(described)


def say_folds(described: list[dict[str, Any]]) -> None:
    """The counts of all folds: images and groups of every split, and the images of every class."""
    _say_source(described[0])
    classes = described[0]["classes"]
    say_table(
        ["fold", "split", "images", "groups", *classes],
        [
            (
                *(fold["fold"], split, f"{fold['sizes'][split]['images']:,}", f"{fold['sizes'][split]['groups']:,}"),
                *(f"{cells[name]['images']:,}" for name in classes),
            )
            for fold in described
            for split, cells in fold["splits"].items()
        ],
    )
    for note in described[0]["notes"]:
        say(f"note: {note}")
    for fold in described:
        _say_problems(fold)


def say_repair(repair: dict[str, Any]) -> None:
    """What the splits held before and after, so that two scores on them are not compared without a look at it."""
    say(f"repair: {repair['num_groups']:,} groups stood in several splits; {repair['num_moved']:,} images moved")
    rows: list[tuple[str, ...]] = []
    for role, before in repair["before"].items():
        pair = (before, repair["after"][role])
        rows.append((role, "images", *(f"{state['num_images']:,}" for state in pair)))
        rows.append((role, "of groups in another split", *(f"{state['num_shared']:,}" for state in pair)))
        for name in before["prevalence"]:
            rows.append((role, f"% {name}", *(_percent(state["prevalence"].get(name)) for state in pair)))
        always = (_percent(state["majority_accuracy"]) for state in pair)
        rows.append((role, "% right by always saying the largest class of train", *always))
    say_table(["split", "what", "before", "after"], rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _say_source(described: dict[str, Any]) -> None:
    say(f"{described['source']}: {described['num_images']:,} images, {described['num_groups']:,} groups")
    say(f"reader {described['reader']}; {described['grouping']}")
    largest, smallest = described["imbalance"]["largest"], described["imbalance"]["smallest"]
    ratio = described["imbalance"]["ratio"]
    if ratio == 1:
        say(f"imbalance: 1.0 (every class {largest['images']:,} images)")
        return
    say(
        f"imbalance: {f'{ratio:.1f}' if ratio else 'not defined'} (largest class {largest['class']} "
        f"{largest['images']:,} images, smallest {smallest['class']} {smallest['images']:,})"
    )


def _say_problems(described: dict[str, Any]) -> None:
    for path in described["unreadable"][:20]:
        say(f"unreadable: {path}")
    for conflict in described["label_conflicts"][:20]:
        say(f"CONFLICT: identical images with different labels: {conflict}")
    for name, groups in described["too_few_groups"].items():
        say(f"TOO FEW: class {name} has {groups} group{'s' * (groups != 1)}; train and val need one each")
    if described["unreadable"] or described["label_conflicts"] or described["too_few_groups"]:
        left_out = "; or leave unreadable images out with --set data.unreadable=exclude" * bool(described["unreadable"])
        say(f"training refuses to start until these are mended{left_out}")
    for kind, key in (("LEAK", "leaks"), ("suspect", "suspects")):
        found = described["leaks"][key]
        for pair in found[:10]:
            say(f"{kind}: {pair['kind']}: {pair['name']}")
        if found:
            refuses = "; training refuses to start" if kind == "LEAK" else ""
            say(f"{kind}: {len(found):,} across splits{refuses}")
