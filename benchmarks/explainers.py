"""What an explanation costs: each explainer beside one forward pass, and a batch beside its images one by one.

    python benchmarks/explainers.py [--models resnet18 ...] [--methods grad_cam ...] [--batch 16] [--rounds 3]

fp32 on the CPU. In every round each explainer runs on the batch, then on its images one by one, and the network's
forward pass of the same batch without gradients stands beside; so what else the machine does meets all of them. Costs
are times over that forward pass. An explainer that would take longer than `--longest` seconds a round is measured on
as many images as fit, at least one, and has no ratio of batch over one by one.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.core.errors import ChironError
from chiron.core.registry import load_leaf
from chiron.explanation.explain import EXPLAINERS, explainer_names
from chiron.explanation.subject import Subject
from chiron.models.create import create_model, example_inputs
from chiron.spec.labels import LabelSpace

LABELS = LabelSpace(names=("a", "b", "c"))


def subject_of(model: str, batch: int, img_size: int) -> Subject:
    """The network with random weights and `batch` images of noise."""
    network = create_model(model, num_classes=3, img_size=img_size, init="scratch", seed=0).eval()
    images = torch.randn(batch, 3, img_size, img_size, generator=torch.Generator().manual_seed(0))
    return Subject(network, example_inputs(network, images), torch.arange(batch) % 3, LABELS)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def told(values: list[float]) -> str:
    """Median and range."""
    low, middle, high = (f(values) for f in (min, statistics.median, max))
    digits = 0 if middle >= 100 else 2 if middle < 10 else 1
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


@torch.no_grad()
def forward(subject: Subject) -> None:
    """One pass of all images."""
    subject.outputs()


def measure(model: str, method: str, subject: Subject, rounds: int, longest: float) -> str:
    """A row of the table."""
    leaf = load_leaf(EXPLAINERS, method, kind="explainer")
    reason = leaf.why_not(subject)
    if reason is not None:
        return f"| `{model}` | `{method}` | {reason} | | |"
    ones = [subject.rows(torch.tensor([k])) for k in range(len(subject))]
    first = seconds(lambda: leaf.explain(ones[0], seed=0))
    few = first * len(subject) > longest
    asked = subject.rows(torch.arange(max(1, min(len(subject), int(longest / first)))))
    forward(subject)
    costs, gains, each = [], [], []
    for _ in range(rounds):
        alone = None if few else seconds(lambda: [leaf.explain(one, seed=0) for one in ones])
        together = seconds(lambda: leaf.explain(asked, seed=0))
        beside = seconds(lambda: forward(subject)) / len(subject)
        each.append(1e3 * together / len(asked))
        costs.append(together / len(asked) / beside)
        if alone is not None:
            gains.append(alone / together)
    return f"| `{model}` | `{method}` | {told(each)} | {told(costs)} | {told(gains) if gains else '-'} |"


def main() -> None:
    """Reads the options and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "vit_tiny_patch16_224"], metavar="NAME")
    parser.add_argument("--methods", nargs="+", default=explainer_names(), metavar="NAME")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longest", type=float, default=60, help="seconds a round of one explainer (default 60)")
    options = parser.parse_args()
    print(f"batch {options.batch}, {options.img_size} px, fp32, {torch.get_num_threads()} threads; median (range)")
    print("\n| model | explainer | ms an image in the batch | times a forward pass | one by one over batch |")
    print("|---|---|---|---|---|")
    for model in options.models:
        subject = subject_of(model, options.batch, options.img_size)
        for method in options.methods:
            print(measure(model, method, subject, options.rounds, options.longest), flush=True)


if __name__ == "__main__":
    try:
        main()
    except ChironError as error:
        sys.exit(str(error))
