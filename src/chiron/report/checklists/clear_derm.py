"""CLEAR Derm, for image-based artificial intelligence in dermatology: 25 items, numbered as in its paper of 2022."""

from chiron.report.checklists import rules
from chiron.report.checklists.items import NOT_CHECKED, Checklist, Item

CHECKLIST = Checklist(
    name="CLEAR Derm",
    source="Daneshjou et al. 2022, JAMA Dermatology 158(1):90-96",
    checked=NOT_CHECKED,
    items=(
        Item("1", "Kinds of images", rules.population),
        Item("2", "Artifacts in the images", rules.by_author),
        Item("3", "How images were acquired", rules.by_author),
        Item("4", "Preprocessing", rules.preprocessing),
        Item("5", "Synthetic images", rules.no_synthetic_images),
        Item("6", "Public images and their references", rules.data_source),
        Item("7", "Metadata of patients", rules.characteristics),
        Item("8", "Skin tone and how it was assessed", rules.skin_tone),
        Item("9", "Bias from patients' information", rules.subgroups),
        Item("10", "Splits", rules.partitions),
        Item("11", "Sizes of the splits", rules.partitions),
        Item("12", "External test set", rules.external_testing),
        Item("13", "Images of several devices", rules.by_author),
        Item("14", "Class shares", rules.class_shares),
        Item("15", "Images outside the known classes", lambda facts: rules.Answer("not reported")),
        Item("16", "Labeling", rules.reference_standard),
        Item("17", "Accepted names of the conditions", rules.by_author),
        Item("18", "Histopathology of malignant lesions", rules.reference_standard),
        Item("19", "Development of the algorithm", rules.training),
        Item("20", "How others can test it", rules.by_author),
        Item("21", "Measures of performance", rules.metrics),
        Item("22", "Comparison with other methods", rules.baselines),
        Item("23", "Assessment of bias", rules.subgroups),
        Item("24", "Use and conditions covered", rules.not_covered),
        Item("25", "Effect on care teams and patients", rules.by_author),
    ),
)
