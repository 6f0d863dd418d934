"""Regression: what mixing does to the error, with any partner (MixUp) and with one of a similar target (C-Mixup).

    python benchmarks/regression.py [--tasks diabetes angle] [--seeds 5] [--markdown FILE]

`diabetes` is scikit-learn's (442 rows of 10 numbers; half of them trained on, drawn by the seed), `angle` is the angle,
in -60 .. 60 degrees, by which digits of mnist5k were turned (1,000 trained on). Targets are standardised for training;
reported is the root mean square error on held-out examples in the target's own unit. All lines of one seed share the
network, its first weights, the number of steps, the batch size and the feeder.
"""

from __future__ import annotations

import argparse
import math

import keras
import numpy as np
import tensorflow as tf
from _training import Table, Trainer, mean_and_spread, small_cnn

import keras_aug_ssl as kas

BATCH = 64

LINES = {
    "plain": lambda: [],
    "MixUp, alpha 0.2": lambda: [kas.layers.MixUp(0.2)],
    "MixUp, alpha 2": lambda: [kas.layers.MixUp(2.0)],
    "C-Mixup, alpha 2, sigma 1": lambda: [kas.layers.SimilarTargetMix(2.0, sigma=1.0)],
    "C-Mixup, alpha 2, sigma 0.3": lambda: [kas.layers.SimilarTargetMix(2.0, sigma=0.3)],
    "C-Mixup, alpha 2, sigma from the batch": lambda: [kas.layers.SimilarTargetMix(2.0)],
    "C-Mixup, alpha 2, sigma 0.1": lambda: [kas.layers.SimilarTargetMix(2.0, sigma=0.1)],
}


def diabetes(seed):
    """Half the rows to train on and half to test on, columns standardised."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype("float32")[order]
    y, half = y.astype("float32")[order], len(x) // 2
    return (x[:half], y[:half]), (x[half:], y[half:])


def angle(seed):
    """Digits turned by an angle each, and the angle in degrees."""
    parts = []
    for (x, _), count, key in zip(kas.data.load("mnist5k"), (1000, 1000), (1, 2), strict=True):
        chosen = x[np.random.default_rng([seed, key]).permutation(len(x))[:count]]
        turn = kas.layers.RandomRotation(60 / 360, fill_mode="constant")
        drawn = turn.sample(chosen, (seed, key))
        matrix = drawn["out_to_in"].numpy()
        degrees = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
        parts.append((turn.apply(chosen, drawn).numpy(), degrees.astype("float32")))
    return tuple(parts)


def mlp(shape):
    layers = [keras.Input(shape), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(64, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dense(1), keras.layers.Reshape(())])


def cnn(shape):
    return keras.Sequential([*small_cnn(shape, 1).layers, keras.layers.Reshape(())])


TASKS = {"diabetes": (diabetes, mlp, 300), "angle": (angle, cnn, 300)}  # data, network, steps


def feed(x, y, seed, line):
    """Endless batches of (inputs, standardised targets, weights): the same feeder for every line."""
    target = (y - y.mean()) / y.std()
    dataset = tf.data.Dataset.from_tensor_slices((x, target)).shuffle(len(x), seed=seed).repeat()
    dataset = dataset.batch(BATCH, drop_remainder=True)
    layers = LINES[line]()
    if layers:
        dataset = kas.Pipeline(layers, seed=seed).map(dataset)
    return dataset.map(lambda x, y: (tf.cast(x, tf.float32), y, tf.ones_like(y))).prefetch(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    title = f"Root mean square error on held-out examples; mean ± standard deviation of {options.seeds} seeds."
    table = Table(title, ["task", "line", "RMSE", "less than plain, seed by seed"])
    for name in options.tasks:
        data, network, steps = TASKS[name]
        sets = [data(seed) for seed in range(options.seeds)]
        trainer = Trainer(lambda sets=sets, network=network: network(sets[0][0][0].shape[1:]), "mse", steps)
        plain = None
        for line in LINES:
            errors = []
            for seed, ((x, y), (x_test, y_test)) in enumerate(sets):
                keras.utils.set_random_seed(seed)  # the shuffling depends on it too
                model, _ = trainer.train(feed(x, y, seed, line), seed)
                predicted = model.predict(x_test.astype("float32"), batch_size=256, verbose=0).reshape(-1)
                errors.append(math.sqrt(np.mean((predicted * y.std() + y.mean() - y_test) ** 2)))
            plain = errors if plain is None else plain
            gain = mean_and_spread([1 - error / base for error, base in zip(errors, plain, strict=True)]) + " %"
            table.add(name, line, mean_and_spread(errors, 1.0, 2), gain)
    table.write(options.markdown)


if __name__ == "__main__":
    main()
