"""`chiron bench train`: what it times, what it estimates, and the sentence at its end."""

from types import SimpleNamespace

import pytest

from chiron.core.errors import SpecError
from chiron.engine.bench import Measured, Spread
from chiron.workflows import bench
from chiron.workflows.bench import bench_train, bottleneck


def measured(waiting_share: float = 0.0, read: float = 0.001, warp: float = 0.002, **parts: float) -> Measured:
    def at(value):
        return Spread(value, value, value)

    times = dict.fromkeys(("copy", "forward", "backward", "optimizer"), 0.01) | parts
    whole = sum(times.values())
    spreads = {name: at(value) for name, value in times.items()}
    return Measured(
        decode=at(0.01), read=at(read), warp=at(warp), parts=spreads, step=at(whole), waiting=at(0.0),
        loaded_step=at(whole), images_per_second=100.0, compute_images_per_second=120.0, waiting_share=waiting_share,
        score=at(0.01), memory_peak_bytes=None,
    )  # fmt: skip


def setup(precision: str = "fp32", *, workers: int = 0, device: str = "cpu", cached: object = object()):
    runtime = SimpleNamespace(num_workers=workers, device=SimpleNamespace(type=device))
    recipe = SimpleNamespace(train=SimpleNamespace(precision=precision))
    return SimpleNamespace(recipe=recipe, runtime=runtime, images=SimpleNamespace(cached=cached))


@pytest.mark.parametrize(
    ("numbers", "of", "sentence"),
    [
        (measured(backward=0.05), setup(),
         "The network's backward pass takes 62 % of the time: try --set train.precision=auto, which measures what is "
         "fastest here."),
        (measured(forward=0.05), setup("auto"),
         "The network's forward pass takes 62 % of the time: try a smaller input.img_size, a smaller network, or "
         "a GPU."),
        (measured(optimizer=0.05), setup(),
         "The optimizer takes 62 % of the time: try a larger train.batch_size, so that there are fewer steps."),
        (measured(0.6), setup(workers=2, device="cuda"),
         "Waiting for images takes 60 % of the time: augmentation is slow; try --set train.num_workers=4, or "
         "fewer keys of augment."),
        (measured(0.6, read=0.01), setup(cached=None),
         "Waiting for images takes 60 % of the time: leave out --no-cache, so that each image is decoded once."),
    ],
)  # fmt: skip
def test_one_sentence_names_the_bottleneck(numbers, of, sentence):
    assert bottleneck(numbers, of) == sentence


def test_a_recipe_on_data(tiny_recipe, class_folders):
    done = bench_train(str(tiny_recipe), class_folders, num_steps=2, device="cpu", threads=1, num_images=1000)
    assert (done["model"], done["data"], done["batch_size"]) == ("chiron_fair_cnn_nano", str(class_folders), 8)
    assert (done["num_train_images"], done["num_train_images_from"]) == (1000, "stated")
    assert done["cached"]
    seconds = 1000 / done["end_to_end_images_per_second"]
    assert done["epoch_seconds"] == pytest.approx(
        seconds + done["num_val_images"] * done["score_ms_per_image"]["median"] / 1000
    )
    assert done["training_seconds"] == pytest.approx(2 * done["epoch_seconds"])
    for part in ("copy", "forward", "backward", "optimizer", "compute", "waiting", "end_to_end"):
        spread = done[f"{part}_ms_per_step"]
        assert 0 < spread["low_quartile"] <= spread["median"] <= spread["high_quartile"]


def test_a_model_on_phantoms_of_its_own_size(monkeypatch):
    monkeypatch.setattr(bench, "_DISTINCT", 8)
    done = bench_train("test_resnet.r160_in1k", num_steps=1, device="cpu", threads=1, overrides=("train.batch_size=4",))
    assert (done["img_size_px"], done["batch_size"], done["data"]) == (160, 4, "phantoms")
    assert done["num_train_images_from"] == "assumed"


@pytest.mark.parametrize(
    "changes",
    [
        ("labels.names=[a, b, c, d]", "labels.positive=null", "train.class_weights=balanced"),
        ("data.labels=multi", "labels.names=[a, b]", "labels.positive=null", "train.loss=bce"),
        ("labels.one_logit=true", "train.loss=bce"),
    ],
)
def test_phantoms_have_the_classes_of_the_recipe(tiny_recipe, monkeypatch, changes):
    monkeypatch.setattr(bench, "_DISTINCT", 4)
    done = bench_train(str(tiny_recipe), num_steps=1, device="cpu", threads=1, overrides=changes, cache=False)
    assert not done["cached"]


def test_neither_recipe_nor_model():
    with pytest.raises(SpecError, match=r"a recipe or a model. Got 'resnet10x'. Did you mean 'resnet10t'\?"):
        bench_train("resnet10x")


@pytest.mark.parametrize(("stated", "counted"), [(None, 10_000), (700, 700)])
def test_the_mode_is_that_of_the_whole_training(monkeypatch, stated, counted):
    """A few steps are timed, and what is worth measuring for is the training that they stand for."""
    seen = []

    def stop(*args, num_images, **options):
        seen.append(num_images)
        raise SpecError("far enough")

    monkeypatch.setattr(bench, "_DISTINCT", 4)
    monkeypatch.setattr("chiron.engine.setup.choose_mode", stop)
    with pytest.raises(SpecError, match="far enough"):
        bench_train("test_resnet.r160_in1k", num_steps=1, device="cpu", threads=1, num_images=stated)
    assert seen == [counted]
