"""One file through every path: the run's evaluation, evaluate, predict by file, bytes, array, image, folder, zip."""

import io
import zipfile

import numpy as np
import polars as pl
import pytest
import torch
from dicom_files import dicom_file
from PIL import Image

import chiron
from chiron.classifier import Classifier
from chiron.data.cache import cache_images
from chiron.data.dataset import DrawKey, StoredImages, TrainingImages
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.predictions import Predictions
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.predictor import Predictor, find_inputs
from chiron.preprocess.decode import decode_image
from chiron.spec.augment import AugmentRecipe
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.workflows.evaluate import evaluate
from chiron.workflows.predict import predict
from chiron.workflows.train import train

TOLERANCE = 1e-6  # probability
RECIPE = """\
model: {name: chiron_h_coatnet_nano, init: scratch}
input: {img_size: 48, canonical_size: 56, in_chans: 3, resize: letterbox}
labels: {positive: b}
data: {privacy: project}
train: {epochs: 1, batch_size: 8, lr: 1e-3}
evaluate: {num_resamples: 200}
"""


def write_image(path, kind: str, random) -> None:
    pixels = random.integers(0, 256, (40, 70, 3), dtype=np.uint8)
    if kind == "png":
        Image.fromarray(pixels).save(path)
    elif kind == "png16":
        Image.fromarray(random.integers(0, 65536, (40, 70), dtype=np.uint16)).save(path)
    elif kind == "palette":
        Image.fromarray(pixels).quantize(32).save(path)
    elif kind == "dicom":
        values = random.integers(0, 4096, (40, 70), dtype=np.uint16)
        how = {"bits_stored": 12, "kind": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000}
        path.write_bytes(dicom_file(values, PatientID=path.stem, **how))
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(path, quality=90, exif=exif)


KINDS = {"png": "png", "png16": "png", "palette": "png", "exif": "jpg", "dicom": "dcm"}


@pytest.fixture(scope="module")
def run_and_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    random = np.random.default_rng(0)
    for k in range(48):
        kind = list(KINDS)[k // 2 % len(KINDS)]
        split = ("train", "val", "test", "train", "test")[k // (2 * len(KINDS))]
        path = folder / "data" / split / "ab"[k % 2] / f"{kind}-{k:02d}.{KINDS[kind]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, kind, random)
    (folder / "r.yaml").write_text(RECIPE)
    run = train(str(folder / "r.yaml"), folder / "data", folder / "run", score_test=True, device="cpu")
    return run, folder / "data"


@pytest.fixture(scope="module")
def scored(run_and_data) -> dict[str, np.ndarray]:
    """Path -> probabilities by the run's own evaluation."""
    run, _ = run_and_data
    predictions = Predictions.load(run.predictions("test"))
    paths = dict(pl.read_csv(run.path / "manifest.csv").select("sample_id", "path").iter_rows())
    return {paths[name]: prob for name, prob in zip(predictions.scored["sample_id"], predictions.y_prob, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_path_gives_the_same_probabilities(run_and_data, scored, kind, tmp_path):
    run, data = run_and_data
    path = next(path for path in scored if f"/{kind}-" in path)
    expected = scored[path]
    classifier = chiron.load(run.bundle)
    file = data / path
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for other in sorted(data.rglob("*.*")):
            archive.write(other, other.relative_to(data))
    turned = None if kind == "dicom" else Image.open(io.BytesIO(file.read_bytes()))
    if turned is None:
        array = decode_image(file.read_bytes())  # Pillow opens no DICOM
    elif kind == "exif":
        array = np.rot90(np.asarray(turned), -1)  # what an upright array of this JPEG is
    else:
        array = np.asarray(turned.convert("RGB")) if kind == "palette" else np.asarray(turned)
    folder_rows = {row.name: row.prediction for row in predict(run.bundle, [data], device="cpu")}
    zip_rows = {row.name: row.prediction for row in predict(run.bundle, [tmp_path / "all.zip"], device="cpu")}
    ways = {
        "path": classifier.predict(file),
        "bytes": classifier.predict(file.read_bytes()),
        "image": classifier.predict(array if turned is None else Image.open(file)),
        "array": classifier.predict(np.ascontiguousarray(array)),
        "file": predict(run.bundle, [file], device="cpu")[0].prediction,
        "pattern": predict(run.bundle, [data / "test" / "[ab]" / file.name], device="cpu")[0].prediction,
        "folder": folder_rows[f"{data}/{path}"],
        "zip": zip_rows[f"{tmp_path / 'all.zip'}/{path}"],
    }
    for way, prediction in ways.items():
        got = np.array(list(prediction.probabilities.values()))
        assert np.abs(got - expected).max() <= TOLERANCE, way
    assert len({round(float(values[0]), 9) for values in scored.values()}) > 1  # different images differ


def test_evaluating_the_bundle_on_the_data_gives_the_same(run_and_data, scored, tmp_path):
    run, data = run_and_data
    evaluate(run.bundle, data=data, split="all", out=tmp_path / "e", overlap="accept", privacy="project", device="cpu")
    again = Predictions.load(tmp_path / "e" / "predictions.csv")
    by_name = dict(zip(again.scored["sample_id"], again.y_prob, strict=True))
    names = dict(pl.read_csv(tmp_path / "e" / "manifest.csv").select("path", "sample_id").iter_rows())
    for path, expected in scored.items():
        assert np.abs(by_name[names[path]] - expected).max() <= TOLERANCE


def test_prediction_says_what_it_is(run_and_data):
    run, data = run_and_data
    prediction = chiron.load(run.path).predict(next(data.rglob("*.png")))
    assert prediction.confidence == max(prediction.probabilities.values())
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.probabilities[prediction.predicted_class] == prediction.confidence
    assert "not a medical device" in prediction.to_dict()["disclaimer"]


MASKED_RECIPE = """\
model: {name: chiron_hybrid_lung_vit_nano, init: scratch}
input: {img_size: 64, canonical_size: 72, in_chans: 1, resize: letterbox, mask: lung}
labels: {positive: b}
data: {privacy: project}
train: {epochs: 1, batch_size: 8, lr: 1e-3}
evaluate: {num_resamples: 200}
"""


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """Phantom chests as a PNG, a 16-bit PNG and DICOM in turn, in two classes."""
    folder = tmp_path_factory.mktemp("chests")
    images = draw_phantom_cxr(num_images=24, img_size=96, seed=11).images
    for k, image in enumerate(images):
        path = folder / "ab"[k % 2] / f"{k:02d}.{('png', 'png', 'dcm')[k // 2 % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.pad(image[: 90 - k], ((0, 0), (4, 4)))
        if path.suffix == ".dcm":
            path.write_bytes(dicom_file(image.astype(np.uint16) * 16, bits_stored=12, PatientID=path.stem))
        else:
            Image.fromarray(image if k // 2 % 3 == 0 else image.astype(np.uint16) * 257).save(path)
    return folder


class Seen(torch.nn.Module):
    """Keeps the masks that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[np.ndarray] = []

    def forward(self, image, mask):
        self.masks += list(mask[:, 0].numpy())
        return image.mean(dim=(2, 3)).expand(-1, 2)


def test_every_path_gives_the_same_mask(chests, tmp_path):
    manifest = read_dataset(chests)
    spec = InputSpec(img_size=64, canonical_size=80, in_chans=1, resize="letterbox", mask="lung")
    source, paths = ImageSource(manifest.root), manifest.frame["path"].to_list()
    cached = cache_images(manifest, spec, tmp_path / "cache")
    training = {"sample_ids": paths, "recipe": AugmentRecipe(), "seed": 0}
    seen = Seen()
    classifier = Classifier(
        [seen],
        network_spec=NetworkSpec(name="seen", args={}),
        input_spec=spec,
        labels=LabelSpace(names=("a", "b"), positive="b"),
    )
    ways = {
        "scored": lambda k: classifier.logits(StoredImages(source, paths, spec)[k][0][None]),
        "trained": lambda k: seen(
            *classifier.finish(TrainingImages(source, paths, spec, **training)[DrawKey(k, 0)][0][None])
        ),
        "cached": lambda k: classifier.logits(StoredImages(source, paths, spec, cached=cached)[k][0][None]),
        "trained from the cache": lambda k: seen(
            *classifier.finish(TrainingImages(source, paths, spec, **training, cached=cached)[DrawKey(k, 0)][0][None])
        ),
        "path": lambda k: classifier.predict(chests / paths[k]),
        "bytes": lambda k: classifier.predict((chests / paths[k]).read_bytes()),
        "array": lambda k: classifier.predict(source.decode(paths[k])),
        "file": lambda k: list(Predictor(classifier).rows(find_inputs([chests / paths[k]]))),
    }
    for k in range(6):
        seen.masks.clear()
        for way in ways.values():
            way(k)
        assert len(seen.masks) == len(ways)
        for way, mask in zip(ways, seen.masks, strict=True):
            np.testing.assert_array_equal(mask, seen.masks[0], err_msg=f"{paths[k]} {way}")
        assert set(np.unique(mask)) == {0, 1}
        assert 0.05 < mask.mean() < 0.6


def test_a_run_with_masks_predicts_as_it_was_scored(chests, tmp_path):
    (tmp_path / "r.yaml").write_text(MASKED_RECIPE)
    run = train(str(tmp_path / "r.yaml"), chests, tmp_path / "run", score_test=True, device="cpu")
    scored = Predictions.load(run.predictions("test"))
    paths = dict(pl.read_csv(run.path / "manifest.csv").select("sample_id", "path").iter_rows())
    classifier = chiron.load(run.bundle)
    assert classifier.input_spec.mask == "lung"
    for name, expected in zip(scored.scored["sample_id"], scored.y_prob, strict=True):
        got = np.array(list(classifier.predict(chests / paths[name]).probabilities.values()))
        assert np.abs(got - expected).max() <= TOLERANCE
    assert len({round(float(values[0]), 9) for values in scored.y_prob}) > 1
