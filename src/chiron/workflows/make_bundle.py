"""From trained networks to a bundle that is proven to say the same."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from chiron.audit.leaks import require_no_leaks
from chiron.classifier import Classifier, load
from chiron.core.errors import EngineError
from chiron.data.dataset import StoredImages
from chiron.data.known_images import known_images
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import FITTED_SPLITS, SPLITS
from chiron.data.source import ImageSource
from chiron.engine.fit import Fitted
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import score_images
from chiron.spec.decision import Decision
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import Provenance
from chiron.spec.recipe import Recipe
from chiron.version import __version__
from chiron.workflows.run_folder import RunFolder, library_versions
from chiron.workflows.scope import fit_scope
from chiron.workflows.shareable import shareable_recipe


def make_bundle(
    run: RunFolder,
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    fitted: Sequence[Fitted],
    runtime: Runtime,
    decision: Decision,
) -> None:
    """Saves the trained classifier, loads it back, and proves that both say the same.

    Args:
        fitted: one network, or those of the folds, which answer together.
        runtime: of this process alone.
    Raises:
        EngineError: the loaded bundle scores otherwise.
    """
    first = fitted[0]
    was_dealt = len(fitted) > 1  # every image of cal but a fold was trained on by each network
    calibrating: Literal["cal", "val"] = "cal" if manifest.select("cal").frame.height and not was_dealt else "val"
    scope, distance = fit_scope(manifest, recipe.input, calibrating, percent=recipe.decision.scope_percent)
    values = [one.progress.best_value for one in fitted if one.progress.best_value is not None]
    trained = Classifier(
        [one.network for one in fitted],
        network_spec=first.network_spec.model_copy(update={"members": len(fitted)}),
        input_spec=recipe.input,
        labels=labels,
        scope=scope,
        scope_distance=distance,
        decision=decision,
        intended_use=recipe.intended_use,
        provenance=Provenance(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            chiron_version=__version__,
            library_versions=library_versions(),
            recipe=shareable_recipe(recipe),
            data_digest=manifest.digest,
            data_counts=data_counts(manifest),
            grouping=manifest.grouping,
            accepted_leaks=len(require_no_leaks(manifest, recipe.data.accept_leaks).accepted),
            init=recipe.model.init,
            weights=first.weights_origin,
            num_parameters=sum(p.numel() for one in fitted for p in one.network.parameters()),
            best_epoch=first.progress.best_epoch or 0,
            selected_by=f"val_{recipe.train.select_by}" + (f" (each of {len(fitted)} networks)" * (len(fitted) > 1)),
            selection_value=sum(values) / len(values) if values else None,
        ),
    ).to(runtime.device)
    trained.save(run.bundle, known=known_images(manifest, FITTED_SPLITS))
    loaded = load(run.bundle, device=str(runtime.device))
    probe = manifest.select("val")
    images = StoredImages(ImageSource(manifest.root), probe.frame["path"].head(16).to_list(), recipe.input)
    options: dict[str, Any] = {"batch_size": 16}
    before = score_images(trained, images, runtime, **options)
    after = score_images(loaded, images, runtime, **options)
    # Same weights and images, yet memory laid out anew may round otherwise: 1.4e-5 was seen of a MobileNetV3.
    if not np.allclose(after, before, rtol=1e-5, atol=5e-5):
        raise EngineError(
            f"A loaded bundle must score as the trained network does. Got logits {abs(before - after).max():.2e} apart "
            f"in {run.bundle}. Please report this."
        )
    run.write_facts(status="trained", bundle_id=loaded.bundle_id, best_epoch=first.progress.best_epoch)


def data_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    """split -> images and groups."""
    parts = {split: manifest.select(split).frame for split in SPLITS}
    return {
        split: {"images": part.height, "groups": part["group_id"].n_unique()}
        for split, part in parts.items()
        if part.height
    }
