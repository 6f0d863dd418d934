"""Rare classes: what class weights, SMOTE and this library make of a set in which half the classes are 50 times rarer.

    python benchmarks/imbalance.py [--datasets digits mnist5k] [--seeds 5] [--steps 300] [--markdown FILE]

Five classes, drawn by the seed, keep one example in fifty (at least two). All lines of one seed share the network, its
first weights, the number of steps, the batch size and the feeder; they differ in the examples, weights and layers
named. What our lines are made of was chosen with other seeds, on a quarter of the training images that was held out.
Reported over the seeds: balanced accuracy, and mean recall of the rare and of the frequent classes, on the test set.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
import tensorflow as tf
from _training import Table, Trainer, mean_and_spread, small_cnn

import keras_aug_ssl as kas

CLASSES, BATCH, RATIO = 10, 64, 50


def unbalanced(x, y, seed):
    """Keeps one in fifty of five classes; returns what is left and the five."""
    rng = np.random.default_rng(seed)
    rare = rng.permutation(CLASSES)[: CLASSES // 2]
    kept = []
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(y == label))
        kept.append(members[: max(2, round(len(members) / RATIO))] if label in rare else members)
    kept = rng.permutation(np.concatenate(kept))
    return x[kept], y[kept], rare


def smote(x, y, seed):
    """imbalanced-learn's SMOTE on raw pixels, up to the largest class."""
    from imblearn.over_sampling import SMOTE

    neighbours = min(5, np.bincount(y).min() - 1)
    rows = x.reshape(len(x), -1).astype("float32")  # differences of uint8 would wrap
    flat, labels = SMOTE(random_state=seed, k_neighbors=neighbours).fit_resample(rows, y)
    return np.round(flat).astype(x.dtype).reshape(-1, *x.shape[1:]), labels


def class_weights(y):
    """Every class weighs the same in the loss."""
    return (len(y) / CLASSES / np.maximum(np.bincount(y, minlength=CLASSES), 1)).astype("float32")


def moves():
    """Geometry that digits survive; what comes in from outside is black."""
    make, black = kas.layers, {"fill_mode": "constant"}
    return [
        make.RandomTranslation(0.08, 0.08, **black),
        make.RandomRotation(0.03, **black),
        make.RandomZoom(0.1, **black),
    ]


# For each line: how the examples are made, whether classes are weighted, and the layers that follow.
LINES = {
    "plain": ("as it is", False, lambda counts: []),
    "class weights": ("as it is", True, lambda counts: []),
    "SMOTE on raw pixels": ("smote", False, lambda counts: []),
    "ours: balanced stream": ("balanced", False, lambda counts: []),
    "ours: balanced stream, MixUp": ("balanced", False, lambda counts: [kas.layers.MixUp(0.4, num_classes=CLASSES)]),
    "ours: repeating stream": ("repeated", False, lambda counts: []),
    "ours: repeating stream, Remix": (
        "repeated", False, lambda counts: [kas.layers.Remix(0.4, class_counts=counts)]
    ),
    "ours: BalancedMixUp": ("as it is", False, lambda counts: [kas.layers.BalancedMixUp(0.2, num_classes=CLASSES)]),
    "ours: Remix": ("as it is", False, lambda counts: [kas.layers.Remix(class_counts=counts)]),
    "class weights + augmentation": ("as it is", True, lambda counts: moves()),
    "SMOTE + augmentation": ("smote", False, lambda counts: moves()),
    "ours: balanced stream + augmentation": ("balanced", False, lambda counts: moves()),
    "ours: repeating stream + augmentation": ("repeated", False, lambda counts: moves()),
    "ours: repeating stream + augmentation, MixUp": (
        "repeated", False, lambda counts: [*moves(), kas.layers.MixUp(0.4, num_classes=CLASSES)]
    ),
    "ours: repeating stream + augmentation, Remix": (
        "repeated", False, lambda counts: [*moves(), kas.layers.Remix(0.4, class_counts=counts)]
    ),
}  # fmt: skip
NEIGHBOURS = {"balanced": 5, "repeated": 0}


def feed(x, y, seed, line):
    """Endless batches of (images, one-hot labels, weights): the same feeder for every line."""
    examples, weighted, layers = LINES[line]
    counts = np.bincount(y, minlength=CLASSES)
    weights = tf.constant(class_weights(y) if weighted else np.ones(CLASSES, "float32"))
    if examples == "smote":
        x, y = smote(x, y, seed)
    dataset = tf.data.Dataset.from_tensor_slices((x, y.astype("int64"))).shuffle(len(x), seed=seed)
    if examples in NEIGHBOURS:
        dataset = kas.data.balanced(dataset, num_classes=CLASSES, neighbours=NEIGHBOURS[examples], seed=seed)
    dataset = dataset.repeat().batch(BATCH, drop_remainder=True)
    augment = kas.Pipeline(layers(counts), seed=seed)
    if augment.layers:
        dataset = augment.map(dataset)

    def finish(images, labels):
        if labels.dtype.is_integer:
            labels = tf.one_hot(labels, CLASSES)
        return tf.cast(images, tf.float32), labels, tf.linalg.matvec(labels, weights)

    return dataset.map(finish).prefetch(2)


def recalls(model, x, y):
    predicted = np.argmax(model.predict(x.astype("float32"), batch_size=256, verbose=0), 1)
    return np.array([np.mean(predicted[y == label] == label) for label in range(CLASSES)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits", "mnist5k"])
    parser.add_argument("--lines", nargs="+", default=list(LINES), choices=list(LINES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    table = Table(
        f"Half the classes 1:{RATIO}; mean ± standard deviation of {options.seeds} seeds, in %; "
        f"{options.steps} steps of {BATCH}.",
        ["set", "line", "balanced accuracy", "rare classes' recall", "frequent classes' recall"],
    )
    for name in options.datasets:
        (x, y), (x_test, y_test) = kas.data.load(name)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        trainer = Trainer(lambda x=x: small_cnn(x.shape[1:], CLASSES), loss, options.steps)
        for line in options.lines:
            found = []
            for seed in range(options.seeds):
                x_few, y_few, rare = unbalanced(x, y, seed)
                keras.utils.set_random_seed(seed)  # the shuffling depends on it too
                model, _ = trainer.train(feed(x_few, y_few, seed, line), seed)
                recall = recalls(model, x_test, y_test)
                found.append((recall.mean(), recall[rare].mean(), np.delete(recall, rare).mean()))
            table.add(name, line, *map(mean_and_spread, zip(*found, strict=True)))
    table.write(options.markdown)


if __name__ == "__main__":
    main()
