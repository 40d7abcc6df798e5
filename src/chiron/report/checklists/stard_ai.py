"""STARD-AI, for studies of diagnostic accuracy with artificial intelligence (2025), which extends STARD 2015.

Numbers are those of the 30 items (34 with sub-items) of STARD 2015, which STARD-AI keeps. What it adds (data sets, the
index test as software, fairness, availability) stands as "AI": its own numbering could not be checked for this list.
"""

from chiron.report.checklists import rules
from chiron.report.checklists.items import Checklist, Item

CHECKLIST = Checklist(
    name="STARD-AI",
    source="Sounderajah et al. 2025, Nature Medicine; numbers of STARD 2015 (Bossuyt et al., BMJ 351:h5527), AI: added",
    items=(
        Item("1", "Title or abstract names a study of accuracy", rules.by_author),
        Item("2", "Structured abstract", rules.by_author),
        Item("3", "Background and intended use", rules.intended_use),
        Item("4", "Objectives and hypotheses", rules.by_author),
        Item("5", "Data collected before or after planning", rules.by_author),
        Item("6", "Who was eligible", rules.population),
        Item("7", "How candidates were found", rules.by_author),
        Item("8", "Where and when", rules.population),
        Item("9", "Consecutive, random or convenience series", rules.by_author),
        Item("10a", "The index test in detail", rules.model),
        Item("10b", "The reference standard in detail", rules.reference_standard),
        Item("11", "Why this reference standard", rules.by_author),
        Item("12a", "Thresholds of the index test", rules.operating_point),
        Item("12b", "Thresholds of the reference standard", rules.by_author),
        Item("13a", "What was known to those who read the index test", rules.by_author),
        Item("13b", "What was known to those who set the reference", rules.by_author),
        Item("14", "How accuracy was estimated", rules.uncertainty),
        Item("15", "Indeterminate results", rules.indeterminate),
        Item("16", "Missing data", rules.missing_data),
        Item("17", "Variability between subgroups", rules.subgroups),
        Item("18", "Planned sample size", rules.by_author),
        Item("19", "Flow of participants", rules.flow),
        Item("20", "Characteristics of participants", rules.characteristics),
        Item("21a", "Severity among those with the condition", rules.by_author),
        Item("21b", "Other conditions among those without", rules.class_shares),
        Item("22", "Time between index test and reference", rules.by_author),
        Item("23", "Index test against reference, counts", rules.two_by_two),
        Item("24", "Accuracy with precision", rules.performance),
        Item("25", "Harm", rules.by_author),
        Item("26", "Limitations", rules.limitations),
        Item("27", "Meaning for practice", rules.by_author),
        Item("28", "Registration", rules.by_author),
        Item("29", "Protocol", rules.by_author),
        Item("30", "Funding", rules.by_author),
        Item("AI", "Source and preparation of the data sets", rules.data_source),
        Item("AI", "Splits and their overlap", rules.disjoint_level),
        Item("AI", "How the index test was trained, version of the software", rules.training),
        Item("AI", "External testing", rules.external_testing),
        Item("AI", "Analysis of errors", rules.failures),
        Item("AI", "Bias and fairness", rules.subgroups),
        Item("AI", "Availability of data, code and model", rules.by_author),
    ),
)
