"""All metrics with cluster resamples at ISIC 2019's size, beside a loop over scikit-learn on the same resamples.

python benchmarks/metrics.py [--resamples 2000] [--loop 4] [--rows 25331] [--classes 8]

25,331 synthetic outputs of 8 classes with ISIC 2019's shares, groups of one to six images. Chiron computes every
registered metric on all resamples; the loop repeats the rows of a few of them and asks scikit-learn for every value
that it has, and its time is multiplied. Both get the same weights of groups, and their values must agree to 1e-12.
Seconds are the processor's, of one core with OMP_NUM_THREADS=1, so that neighbors count for less; memory is the largest
resident size less that before.
"""

import argparse
import resource
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn import metrics as sk

from chiron.metrics.cases import Cases, check_cases
from chiron.metrics.evaluation import evaluate
from chiron.metrics.intervals.bootstrap import left_out_weights, resampled_weights
from chiron.metrics.metric import metrics_for
from chiron.metrics.statistics import Statistics

SHARES = np.array([4522, 12875, 3323, 867, 2624, 239, 253, 628]) / 25331  # MEL NV BCC AK BKL DF VASC SCC
LIMIT = 1e-12


def synthetic(num_rows: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Labels with ISIC 2019's shares, outputs of a fair model, and groups of one to six images of one class."""
    rng = np.random.default_rng(seed)
    shares = np.resize(SHARES, num_classes) / np.resize(SHARES, num_classes).sum()
    groups = np.repeat(np.arange(num_rows), rng.integers(1, 7, num_rows))[:num_rows]
    y_true = rng.choice(num_classes, size=groups.max() + 1, p=shares)[groups]
    logits = 1.2 * rng.normal(size=(num_rows, num_classes)) + 2 * np.eye(num_classes)[y_true] + np.log(shares)
    y_prob = np.exp(logits)
    return y_true, y_prob / y_prob.sum(axis=1, keepdims=True), groups.tolist()


def by_scikit_learn(y_true: np.ndarray, y_prob: np.ndarray) -> dict[tuple[str, int | None], float]:
    """Every value of one resample that scikit-learn has, by the keys of `Statistics`."""
    y_pred, labels = y_prob.argmax(axis=1), np.arange(y_prob.shape[1])
    found: dict[tuple[str, int | None], float] = {
        ("accuracy", None): sk.accuracy_score(y_true, y_pred),
        ("balanced_accuracy", None): sk.balanced_accuracy_score(y_true, y_pred),
        ("mcc", None): sk.matthews_corrcoef(y_true, y_pred),
        ("kappa", None): sk.cohen_kappa_score(y_true, y_pred),
        ("log_loss", None): sk.log_loss(y_true, y_prob, labels=labels),
        ("brier", None): sk.brier_score_loss(y_true, y_prob, labels=labels, scale_by_half=False),
        ("top_3_accuracy", None): sk.top_k_accuracy_score(y_true, y_prob, k=3, labels=labels),
    }
    scores = {"sensitivity": sk.recall_score, "precision": sk.precision_score, "f1": sk.f1_score}
    for key, score in scores.items():
        found |= {(key, k): value for k, value in enumerate(score(y_true, y_pred, labels=labels, average=None))}
        for average in ("macro", "weighted", "micro"):
            found[f"{average}_{key}", None] = score(y_true, y_pred, labels=labels, average=average)
    for k in labels.tolist():
        is_true, is_called, score_of = y_true == k, y_pred == k, y_prob[:, k]
        found["auroc", k] = sk.roc_auc_score(is_true, score_of)
        found["partial_auroc", k] = sk.roc_auc_score(is_true, score_of, max_fpr=0.1)
        found["average_precision", k] = sk.average_precision_score(is_true, score_of)
        fpr, tpr, _ = sk.roc_curve(is_true, score_of, drop_intermediate=False)
        for percent in (90, 95):
            rate = percent / 100 - LIMIT
            found[f"sensitivity_at_specificity_{percent}", k] = tpr[1 - fpr >= rate].max()
            found[f"specificity_at_sensitivity_{percent}", k] = 1 - fpr[tpr >= rate].min()
        found["specificity", k] = sk.recall_score(~is_true, ~is_called)
        found["npv", k] = sk.precision_score(~is_true, ~is_called)
        ratios = sk.class_likelihood_ratios(is_true, is_called)
        found["positive_likelihood_ratio", k], found["negative_likelihood_ratio", k] = ratios
    for key in ("auroc", "partial_auroc", "average_precision", "specificity", "npv"):
        of_classes = [found[key, k] for k in labels.tolist()]
        found[f"macro_{key}", None] = float(np.mean(of_classes))
        if key != "partial_auroc":
            found[f"weighted_{key}", None] = float(np.average(of_classes, weights=np.bincount(y_true)))
    return found


def loop(cases: Cases, weights: np.ndarray) -> list[dict[tuple[str, int | None], float]]:
    """The values of each resample, its rows repeated."""
    found = []
    for column in weights.T:
        rows = np.repeat(np.arange(cases.num_images), column[cases.group_index])
        found.append(by_scikit_learn(cases.y_true[rows], cases.y_prob[rows]))
    return found


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median processor time of some rounds."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=4, help="resamples of the loop over scikit-learn")
    parser.add_argument("--rows", type=int, default=25331)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    y_true, y_prob, groups = synthetic(options.rows, options.classes)
    names = [f"class_{k}" for k in range(options.classes)]
    cases = check_cases(y_true, y_prob, classes=names, positive=None, groups=groups)
    sizes = {"num_rows": cases.num_images, "seed": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def resample() -> dict:
        statistics_of = Statistics(cases, metrics_for(options.classes).values())
        return statistics_of.of_blocks(resampled_weights(cases.num_groups, options.resamples, **sizes))

    def jackknife() -> dict:
        return Statistics(cases, metrics_for(options.classes).values()).of_blocks(
            left_out_weights(cases.num_groups, **sizes)
        )

    def everything() -> object:
        how = {"classes": names, "positive": None, "groups": groups, "num_resamples": options.resamples}
        return evaluate(y_true, y_prob, **how)

    whole, resampled, left_out = (seconds(work, options.rounds) for work in (everything, resample, jackknife))
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    values = resample()
    weights = np.concatenate([*resampled_weights(cases.num_groups, options.loop, **sizes)], axis=1)
    start = time.process_time()
    references = loop(cases, weights)
    per_resample = (time.process_time() - start) / options.loop
    worst = max(abs(values[key][r] - value) for r, one in enumerate(references) for key, value in one.items())
    print(f"{cases.num_images:,} images, {cases.num_groups:,} groups, {options.classes} classes, {len(values)} values;")
    print(f"{len(references[0])} of them by scikit-learn; largest difference {worst:.1e}\n")
    print("| what | resamples | processor seconds | a resample | ratio |\n|---|---|---|---|---|")
    told = per_resample * options.resamples
    print(
        f"| scikit-learn in a loop | {options.loop} | {per_resample * options.loop:.1f}; {told:.0f} for all | "
        f"{1e3 * per_resample:.0f} ms | 1 |"
    )
    each = resampled / options.resamples
    ratio = per_resample / each
    print(f"| Chiron, the same | {options.resamples:,} | {resampled:.2f} | {1e3 * each:.2f} ms | {ratio:.0f} |")
    print(f"| Chiron, sets of groups left out (BCa) | | {left_out:.2f} | | |")
    print(f"| Chiron, `evaluate`: all intervals | {options.resamples:,} | {whole:.2f} | | {told / whole:.0f} |")
    print(f"\nMemory beyond the data: {memory:.0f} MB")
    if worst > LIMIT:
        raise SystemExit(f"Values differ by {worst:.1e}, more than {LIMIT:.0e}")


if __name__ == "__main__":
    main()
