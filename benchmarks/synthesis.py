"""`kas.data.synthesize` beside imbalanced-learn's SMOTE: time, and whether the new examples lie alike.

    python benchmarks/synthesis.py [--runs 7] [--seeds 5] [--rows 50000] [--markdown FILE]

Time: both are called in turn on the same rows of 50 columns (A B, A B, ...), so that a drift of the machine's speed
meets both, each on one thread and by the processor's time, so that other work on the machine does not count; reported
are the medians, their range and the median of the ratios run by run. Alike: how far new examples
are from the nearest given one of their class, from the five nearest, and from the centre of the class; mean and spread
over seeds. Two samples are compared by the Kolmogorov-Smirnov distance, beside the
distance of two seeds of imbalanced-learn, which is what chance alone gives.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import tensorflow as tf
from imblearn.over_sampling import SMOTE
from scipy.stats import ks_2samp
from sklearn.datasets import make_classification
from sklearn.neighbors import NearestNeighbors

import keras_aug_ssl as kas

SHARES = {
    "9 : 1": (0.9, 0.1),
    "50 : 1": (0.98, 0.02),
    "6 : 4": (0.6, 0.4),
    "5 : 3 : 2": (0.5, 0.3, 0.2),
    "4 : 1 (six times)": (0.4, *[0.1] * 6),
}
Sampler = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
SAMPLERS: dict[str, Sampler] = {
    "keras_aug_ssl": lambda x, y, seed: kas.data.synthesize(x, y, seed=seed),
    "imbalanced-learn": lambda x, y, seed: SMOTE(random_state=seed).fit_resample(x, y),
}


def table_rows(rows: int, shares: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 50 columns, 20 of them informative, in classes of the given shares."""
    return make_classification(
        rows, 50, n_informative=20, n_classes=len(shares), n_clusters_per_class=2, weights=list(shares), random_state=0
    )


def unbalanced_digits() -> tuple[np.ndarray, np.ndarray]:
    """Raw pixels of scikit-learn's digits, of which every odd digit keeps one example in six."""
    (x, y), _ = kas.data.load("digits")
    kept = (y % 2 == 0) | (np.arange(len(y)) % 6 == 0)
    return x[kept].reshape(kept.sum(), -1).astype("float64"), y[kept]


def milliseconds(sampler: Sampler, x: np.ndarray, y: np.ndarray, seed: int) -> float:
    start = time.process_time()
    sampler(x, y, seed)
    return 1e3 * (time.process_time() - start)


def times(rows: int, runs: int) -> list[str]:
    lines = ["| classes | keras_aug_ssl, ms | imbalanced-learn, ms | times as fast |", "|---|---|---|---|"]
    for name, shares in SHARES.items():
        x, y = table_rows(rows, shares)
        for sampler in SAMPLERS.values():
            sampler(x, y, 0)
        measured = {key: [] for key in SAMPLERS}
        for run in range(runs):
            for key, sampler in SAMPLERS.items():
                measured[key].append(milliseconds(sampler, x, y, run))
        ours, theirs = measured.values()
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        lines.append(f"| {name} | {spread(ours)} | {spread(theirs)} | {ratio:.1f} |")
    return lines


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def neighbour_statistics(x: np.ndarray, y: np.ndarray, sampler: Sampler, seed: int) -> dict[str, np.ndarray]:
    """One number a new example for each statistic."""
    more, labels = sampler(x, y, seed)
    new, labels = more[len(x) :], labels[len(x) :]
    one, five, centre = (np.empty(len(new)) for _ in range(3))
    for label in np.unique(labels):
        rows, given = labels == label, x[y == label]
        distances, _ = NearestNeighbors(n_neighbors=5).fit(given).kneighbors(new[rows])
        one[rows], five[rows] = distances[:, 0], distances.mean(1)
        centre[rows] = np.linalg.norm(new[rows] - given.mean(0), axis=1)
    return {"to the nearest": one, "to five, mean": five, "to the centre": centre}


def alike(name: str, x: np.ndarray, y: np.ndarray, seeds: int) -> list[str]:
    found = {
        key: [neighbour_statistics(x, y, sampler, seed) for seed in range(seeds)] for key, sampler in SAMPLERS.items()
    }
    ours, theirs = found.values()
    lines = []
    for statistic in ours[0]:
        means = [[float(run[statistic].mean()) for run in runs] for runs in (ours, theirs)]
        cells = [f"{statistics.mean(m):.4g} ± {statistics.stdev(m):.2g}" for m in means]
        between = [ks_2samp(a[statistic], b[statistic]).statistic for a, b in zip(ours, theirs, strict=True)]
        chance = [ks_2samp(a[statistic], b[statistic]).statistic for a, b in zip(theirs, theirs[1:], strict=False)]
        cells += [f"{statistics.median(between):.4f}", f"{statistics.median(chance):.4f}"]
        lines.append(f"| {name} | {statistic} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="timed calls of each")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the neighbour statistics")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the timed tables")
    parser.add_argument("--markdown", help="also write the tables to this file")
    options = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    lines = [f"{options.rows} rows of 50 columns, {options.runs} runs, one thread ({platform.machine()}).", ""]
    lines += times(options.rows, options.runs)
    lines += ["", "| set | statistic | keras_aug_ssl | imbalanced-learn | distance of the two | by chance |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += alike("5,000 rows, 9 : 1", *table_rows(5000, SHARES["9 : 1"]), options.seeds)
    lines += alike("digits, odd ones rare", *unbalanced_digits(), options.seeds)
    text = "\n".join(lines)
    print(text)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
