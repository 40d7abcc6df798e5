"""What an exported form gains: latency and throughput of a network, and the whole road from file to probability.

    python benchmarks/export.py [--models convnext_tiny efficientnet_b0] [--data FILES.zip] [--images 128] [--rounds 3]

First, of stored images, each form beside eager fp32: one image, and a batch. Then the line that counts: JPEG files to
probabilities by the best form without int8, through Chiron's Predictor, beside the common way, one file after the
other by Pillow, torchvision's transforms and the eager network in fp32. Forms take turns in every round, so that what
else the machine does meets all of them; beside the ratio of times stands that of processor time, which others on the
machine change little. Weights are random, which costs the same; whether a lower precision may be used
for a trained network is for `chiron export` to find out.
"""

import argparse
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chiron.core.process import prepare_process

prepare_process()

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from chiron.classifier import Classifier, build_network  # noqa: E402
from chiron.core.registry import load_leaf  # noqa: E402
from chiron.exporting.graph import example_images  # noqa: E402
from chiron.exporting.trace import trace  # noqa: E402
from chiron.exporting.write import FORMATS  # noqa: E402
from chiron.loading import load  # noqa: E402
from chiron.predictor import Predictor, find_inputs  # noqa: E402
from chiron.spec.bundle_spec import NetworkSpec  # noqa: E402
from chiron.spec.export_spec import ExportSpec  # noqa: E402
from chiron.spec.input_spec import InputSpec  # noqa: E402
from chiron.spec.labels import LabelSpace  # noqa: E402
from chiron.spec.provenance import Provenance  # noqa: E402

LABELS = LabelSpace(names=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"))
FORMS = (("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
NO_INT8 = ("onnx fp32", "openvino fp32", "openvino bf16")
Work = Callable[[np.ndarray], object]


def classifier_of(name: str, img_size: int) -> Classifier:
    """The network with random weights and seven classes."""
    spec, network = InputSpec(img_size=img_size), NetworkSpec(name=name, args={})
    made = Provenance(
        created="",
        chiron_version="",
        library_versions={},
        recipe={},
        data_digest="",
        data_counts={},
        grouping="",
        accepted_leaks=0,
        init="scratch",
        num_parameters=0,
        best_epoch=0,
        selected_by="",
        selection_value=None,
    )
    networks = [build_network(network, spec, LABELS)]
    return Classifier(networks, network_spec=network, input_spec=spec, labels=LABELS, provenance=made)


def write_forms(classifier: Classifier, folder: Path, *, int8: bool) -> dict[str, Path]:
    """Every form, from one trace; int8 finds its ranges on noise, which costs the same."""
    traced, paths = trace(classifier, example_images(classifier.input_spec, 16).numpy()), {}
    for to, precision in FORMS:
        if precision == "int8" and not int8:
            continue
        leaf, path = load_leaf(FORMATS, to, kind="format"), folder / f"{to}-{precision}{'.onnx' * (to == 'onnx')}"
        spec = ExportSpec(bundle_id="x", precision=precision, bundle=classifier.bundle_spec)
        leaf.write(leaf.convert(traced, precision), spec, path)
        paths[f"{to} {precision}"] = path
    return paths


def alternating(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and processor seconds of every way, one after the other in each round; the first round is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            started, worked = time.perf_counter(), time.process_time()
            way()
            if turn:
                times[name].append((time.perf_counter() - started, time.process_time() - worked))
    return times


def tell(title: str, times: dict[str, list[tuple[float, float]]], count: int, base: str) -> dict[str, float]:
    """A line a way: milliseconds an image, times as fast as `base` in that round; the same of processor time."""
    print(f"{title}:")
    gains = {}
    for name, rounds in times.items():
        by_time, by_work = (
            sorted(slow[k] / fast[k] for slow, fast in zip(times[base], rounds, strict=True)) for k in range(2)
        )
        gains[name] = statistics.median(by_time)
        each, work = (1000 * statistics.median(one[k] for one in rounds) / count for k in range(2))
        ratios = f"{gains[name]:.2f} ({by_time[0]:.2f}-{by_time[-1]:.2f})"
        works = f"{statistics.median(by_work):.2f} ({by_work[0]:.2f}-{by_work[-1]:.2f})"
        print(
            f"  {name:<22} {each:7.1f} ms, {1000 / each:6.1f} images/s, {ratios} x; processor {work:6.1f} ms, {works} x"
        )
    return gains


def time_networks(classifier: Classifier, forms: dict[str, Path], rounds: int, batch: int, *, compiled: bool) -> str:
    """Latency and throughput from stored images to outputs; returns the form with the most throughput without int8."""
    works: dict[str, Work] = {"eager fp32": classifier.outputs}
    if compiled:
        torch._dynamo.config.cache_size_limit = 16
        network = torch.compile(classifier.networks[0])

        @torch.inference_mode()
        def run_compiled(stored: np.ndarray) -> object:
            return network(*classifier.finish(torch.from_numpy(stored).permute(0, 3, 1, 2)))

        works["compiled fp32"] = run_compiled
    works |= {name: load(path).outputs for name, path in forms.items()}
    gains: dict[str, float] = {}
    for count in (1, batch):
        stored = example_images(classifier.input_spec, count).numpy()
        ways = {name: (lambda work=work, stored=stored: work(stored)) for name, work in works.items()}
        gains = tell(f"network, {count} at once", alternating(ways, rounds), count, "eager fp32")
    return max(NO_INT8, key=lambda name: gains[name])


def time_files(classifier: Classifier, form: str, path: Path, files: list[Path], rounds: int, batch: int) -> None:
    """File to probability: the form in the Predictor, beside the common way."""
    size = classifier.input_spec.img_size
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize((size, size), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(classifier.input_spec.channel_mean, classifier.input_spec.channel_std),
        ]
    )
    network = classifier.networks[0]

    @torch.inference_mode()
    def common(given: list[Path]) -> list[torch.Tensor]:
        return [network(transform(Image.open(file).convert("RGB"))[None]).softmax(1) for file in given]

    scorer = load(path)
    inputs = find_inputs(files)
    predictor = Predictor(scorer, batch_size=batch)
    probs = np.array([list(row.prediction.probabilities.values()) for row in predictor.rows(find_inputs(files[:8]))])
    apart = np.abs(probs - torch.cat(common(files[:8])).numpy()).max()
    print(f"probabilities of the two ways differ by {apart:.1e} at most (another resize, another precision)")
    ways: dict[str, Callable[[], object]] = {
        "common way": lambda: common(files),
        f"Chiron, {form}": lambda: list(predictor.rows(inputs)),
        "Chiron, eager fp32": lambda: list(Predictor(classifier, batch_size=batch).rows(inputs)),
    }
    tell(
        f"file to probability, {len(files)} files in batches of {batch}",
        alternating(ways, rounds),
        len(files),
        "common way",
    )
    few = files[:10]
    ways = {
        "common way": lambda: common(few),
        f"Chiron, {form}": lambda: [scorer.predict(file) for file in few],
    }
    tell("file to probability, one by one", alternating(ways, rounds), len(few), "common way")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["convnext_tiny", "chiron_h_coatnet", "efficientnet_b0"])
    data = Path(os.environ.get("CHIRON_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=data / "ham10000_200x150.zip", help="a zip of JPEG files")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--no-int8", action="store_true", help="leave int8 out, which takes minutes")
    given = parser.parse_args()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    print(
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, bf16: {'avx512_bf16' in flags or 'amx' in flags}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        with zipfile.ZipFile(given.data) as archive:
            names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][: given.images]
            archive.extractall(place / "files", names)
        images = [place / "files" / name for name in names]
        for model in given.models:
            print(f"\n{model}, {given.img_size} px, random weights")
            eager = classifier_of(model, given.img_size)
            written = write_forms(eager, place / model, int8=not given.no_int8)
            best = time_networks(eager, written, given.rounds, given.batch, compiled=not given.no_compiled)
            time_files(eager, best, written[best], images, given.rounds, given.batch)
