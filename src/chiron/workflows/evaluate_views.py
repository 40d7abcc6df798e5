"""A split of a run scored with test-time augmentation: beside what stands for the run, in a folder of its own."""

from pathlib import Path

from chiron.classifier import load
from chiron.core.errors import SpecError
from chiron.data.manifest import Manifest
from chiron.data.private import is_private
from chiron.data.unchanged import require_unchanged
from chiron.data.units import require_answers
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import reference_table, score_manifest
from chiron.spec.decision import Tta
from chiron.spec.reading import read_recipe
from chiron.workflows.look import enter_look, now, part_of
from chiron.workflows.run_folder import RunFolder


def score_views(run: RunFolder, split: str, tta: Tta, *, device: str = "auto", threads: int | None = None) -> Path:
    """Scores the split with averaged views and returns the table, `RUN/tta_<views>/<split>.csv`.

    What stands for the run is scored without, and so is what its calibration and thresholds were fitted on. Scoring a
    test split is one more look at it, and enters the ledger.

    Raises:
        SpecError: networks of folds, which have seen all of cal but a fold.
        DataError: images changed, or do not name the units that the bundle answers for.
    """
    recipe, manifest = read_recipe(str(run.recipe)), Manifest.load(run.path)
    part = part_of(manifest, split)
    require_unchanged(part)
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(run.bundle, device=str(runtime.device))
    if split == "cal" and len(classifier.networks) > 1:
        raise SpecError(
            f"A split to score must be one that no network was trained on. Got cal of the cross-fitted {run.path}. "
            "Score val or test."
        )
    require_answers(reference_table(part, classifier.labels), classifier.labels, classifier.decision)
    looks = None
    if split in {"test", "external"}:
        hidden = [run.path] if is_private(manifest) else []
        looks = runtime.world.by_main(lambda: enter_look(run.path, classifier.bundle_id, part, hidden))
    table = score_manifest(
        classifier, part, runtime, batch_size=recipe.train.batch_size, seed=recipe.train.seed, tta=tta
    )
    path = run.by_views(tta) / f"{split}.csv"
    if runtime.world.is_main:
        table.with_facts(test_looks=looks, scored=now()).save(path)
    return path
