"""The page of an audit: what was found in a data set, side by side with the pictures it was found in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chiron.audit.findings import Audit
from chiron.audit.fingerprint import Fingerprint
from chiron.audit.shortcuts import ProbeResult, revealing_sentences
from chiron.data.copies.pairs import CopyPair
from chiron.report.format import count, number, plural
from chiron.report.gallery import pictures_of
from chiron.report.sentences import RESEARCH_USE
from chiron.report.templating import templates
from chiron.version import __version__

MOST_PAIRS, MOST_IMAGES, MOST_LEAKS = 30, 24, 50

LIMITS_OF_PROBES = (
    "No alarm is no proof: not found are marks away from border and corners, what only several properties together or "
    "a network tell, what few images carry (of 24 images of a class, a mark that half of them followed was mostly "
    "missed), what came with the patients that were chosen, and anything in a class of fewer than ten groups."
)


def render_audit(audit: Audit) -> str:
    """The whole page as HTML; it holds small pictures and names of images, and is for the project alone."""
    shown = _shown(audit)
    pictures = pictures_of(audit.manifest, sorted(_names(shown)))
    rows = {row["sample_id"]: row for row in audit.manifest.frame.iter_rows(named=True)}
    return (
        templates()
        .get_template("audit.html.j2")
        .render(
            title=audit.manifest.root.name,
            source=audit.manifest,
            research_use=RESEARCH_USE,
            version=__version__,
            verdicts=verdicts(audit),
            counts=_counts(audit),
            leaks=audit.leaks.leaks[:MOST_LEAKS],
            num_leaks=len(audit.leaks.leaks),
            conflicts=[str(conflict) for conflict in audit.conflicts[:MOST_LEAKS]],
            torn=audit.torn[:MOST_LEAKS],
            confirmed=[_pair_view(audit, pair, pictures, rows) for pair in shown["confirmed"]],
            num_confirmed=len(audit.copies),
            possible=[_pair_view(audit, pair, pictures, rows) for pair in shown["possible"]],
            num_possible=len(audit.possible_copies),
            quality=audit.quality,
            flagged=[
                {"name": name, "flags": ", ".join(_plain(flag) for flag in flags), "picture": pictures.get(name, "")}
                for name, flags in shown["flagged"]
            ],
            flag_rows=_flag_rows(audit),
            technical=[_probe_row(result) for result in audit.shortcuts.technical],
            trivial=[_probe_row(result) for result in audit.shortcuts.trivial],
            shortcuts=audit.shortcuts,
            revealing=revealing_sentences(audit.shortcuts),
            limits_of_probes=LIMITS_OF_PROBES,
            suspects=[
                {"suspect": suspect, "picture": pictures.get(suspect.sample_id, "")} for suspect in shown["suspects"]
            ],
            num_suspects=len(audit.suspects.suspects) if audit.suspects else 0,
            suspects_from=audit.suspects_from,
            not_done=audit.not_done,
            facts=_facts(audit),
            class_rows=_class_rows(audit),
            settings=audit.proposed.settings,
            recipe=audit.proposed.yaml,
        )
    )


def verdicts(audit: Audit) -> list[tuple[str, str]]:
    """(weight, sentence) for each thing that an audit asks; weight is `stops`, `look` or `clear`."""
    leaks, alarms = len(audit.leaks.leaks), audit.shortcuts.alarms
    torn, flags = len(audit.torn), sum(audit.quality.counts.values())
    told = [
        ("stops", f"{plural(leaks, 'leak')} between splits: training refuses to start.")
        if leaks
        else ("clear", _no_leak(audit)),
        ("stops", f"{plural(len(audit.conflicts), 'set')} of identical images with different labels.")
        if audit.conflicts
        else ("clear", "No identical images with different labels."),
        ("look", f"{plural(len(audit.copies), 'pair')} of copies with other pixels, confirmed by registration; joined.")
        if audit.copies
        else ("clear", "No copies with other pixels were confirmed."),
        ("look", f"{plural(len(audit.possible_copies), 'pair')} that may be copies: look, and write a verdict.")
        if audit.possible_copies
        else ("clear", "No pair of images is suspected to be a copy."),
    ]
    if unreadable := len(audit.unreadable):
        said = f"{plural(unreadable, 'image')} cannot be read: training stops without data.unreadable=exclude."
        told.append(("stops", said))
    if audit.copies_with_other_labels:
        told.append(("look", f"{plural(len(audit.copies_with_other_labels), 'pair')} of copies have different labels."))
    if torn:
        told.append(("look", f"{plural(torn, 'lesion or patient', 'lesions or patients')} with different labels."))
    told.append(
        ("look", f"{plural(flags, 'quality flag')} on {plural(len(audit.quality.flags), 'image')}; none is dropped.")
        if flags
        else ("clear", "No quality flag.")
    )
    told += [("look", alarm) for alarm in alarms] or [_no_alarm(audit)]
    told += [("look", sentence) for sentence in revealing_sentences(audit.shortcuts)]
    return sorted(told, key=lambda one: ("stops", "look", "clear").index(one[0]))


def _no_leak(audit: Audit) -> str:
    splits = set(audit.manifest.frame["split"].drop_nulls())
    return "No leak between splits." if len(splits) > 1 else "The data comes without splits, so nothing can leak yet."


def _no_alarm(audit: Audit) -> tuple[str, str]:
    """What the lack of an alarm says: nothing where no class could be tested."""
    if set(audit.shortcuts.untested_classes) == set(audit.manifest.classes):
        return "look", "Whether a technical property of the files tells the label was not tested: too few groups."
    return "clear", "No technical property of the files tells the label."


def _shown(audit: Audit) -> dict[str, Sequence[Any]]:
    """What of each kind has its picture on the page."""
    flagged = sorted(audit.quality.flags.items(), key=lambda item: (-len(item[1]), item[0]))
    first = {flags[0]: (name, flags) for name, flags in reversed(flagged)}  # one of each kind before the second of any
    ordered = [*first.values(), *(item for item in flagged if item not in first.values())]
    return {
        "confirmed": audit.copies[:MOST_PAIRS],
        "possible": audit.possible_copies[:MOST_PAIRS],
        "flagged": ordered[:MOST_IMAGES],
        "suspects": audit.suspects.suspects[:MOST_IMAGES] if audit.suspects else (),
    }


def _names(shown: Mapping[str, Sequence[Any]]) -> Iterable[str]:
    pairs = (pair.sample_ids for kind in ("confirmed", "possible") for pair in shown[kind])
    yield from {name for names in pairs for name in names}
    yield from {name for name, _ in shown["flagged"]} | {suspect.sample_id for suspect in shown["suspects"]}


def _pair_view(
    audit: Audit, pair: CopyPair, pictures: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    sides = [
        {
            "name": name,
            "picture": pictures.get(name, ""),
            "label": ", ".join(str(rows[name][column]) for column in audit.manifest.label_columns),
            "split": rows[name]["split"] or "no split",
        }
        for name in pair.sample_ids
    ]
    return {
        "sides": sides,
        "score": "" if pair.score is None else number(pair.score, 2),
        "view": pair.view,
        "verdict": pair.verdict or "",
        "torn": sides[0]["label"] != sides[1]["label"],
        "crosses": sides[0]["split"] != sides[1]["split"],
    }


def _plain(flag: str) -> str:
    return flag.replace("_", " ")


def _flag_rows(audit: Audit) -> list[dict[str, str]]:
    """A row a flag: images, and how they spread over classes and splits."""
    return [
        {
            "flag": _plain(flag),
            "images": count(images),
            "classes": _tally(audit.quality.by_class[flag]),
            "splits": _tally(audit.quality.by_split[flag]),
        }
        for flag, images in audit.quality.counts.items()
    ]


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count(images)}" for name, images in counts.items())


def _probe_row(result: ProbeResult) -> dict[str, str]:
    if result.is_constant:
        return {"title": result.title, "value": "–", "interval": "", "verdict": "the same in all images", "weight": ""}
    if result.auroc is None:
        return {"title": result.title, "value": "–", "interval": "", "verdict": "not tested", "weight": ""}
    low, high = result.low, result.high  # the mean of perfect orders has none
    return {
        "title": result.title,
        "value": number(result.auroc, 2),
        "interval": "" if low is None or high is None else f"{number(low, 2)}–{number(high, 2)}",
        "verdict": result.alarm or "",
        "weight": "look" if result.alarm else "",
    }


def _counts(audit: Audit) -> str:
    found = audit.fingerprint
    return f"{plural(found.num_images, 'image')} in {plural(found.num_groups, 'group')}. {audit.manifest.grouping}"


def _facts(audit: Audit) -> list[tuple[str, str]]:
    found = audit.fingerprint
    return [
        ("Images", f"{count(found.num_images)}; unreadable {count(found.num_unreadable)}, without a label "
                   f"{count(found.num_unlabeled)}"),
        ("Groups", f"{count(found.num_groups)}; the largest has {plural(found.largest_group, 'image')}"),
        *(_picture_facts(found) if found.widths else ()),
        ("Imbalance", "not defined" if found.imbalance is None else f"{number(found.imbalance, 1)} to 1"),
        ("Without a value", _tally({name: rows for name, rows in found.missing.items() if rows}) or "none"),
    ]  # fmt: skip


def _picture_facts(found: Fingerprint) -> list[tuple[str, str]]:
    """What is known where an image can be read."""
    middle = len(found.widths) // 2
    mean, std = (", ".join(number(v, 3) for v in values) for values in (found.channel_mean, found.channel_std))
    return [
        ("Width × height, px", f"median {found.widths[middle]:.0f} × {found.heights[middle]:.0f}; from "
                               f"{found.widths[0]:.0f} × {found.heights[0]:.0f} to "
                               f"{found.widths[-1]:.0f} × {found.heights[-1]:.0f}"),
        ("Width / height", f"median {number(found.aspects[middle], 2)}; 90 % within {number(found.aspects[1], 2)} to "
                           f"{number(found.aspects[-2], 2)}"),
        ("Color mode", _tally(found.color_modes)),
        ("Without color", f"{100 * found.gray_share:.1f} %"),
        ("Bits a channel", _tally(found.bit_depths)),
        ("File format", _tally(found.file_formats) or "not files"),
        ("Mean and SD of red, green, blue (0..1)", f"{mean}; {std}"),
    ]  # fmt: skip


def _class_rows(audit: Audit) -> list[tuple[str, str, str]]:
    found = audit.fingerprint
    return [(name, count(images), count(found.class_groups[name])) for name, images in found.class_images.items()]
