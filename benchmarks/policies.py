"""Policies on few images: accuracy on a CIFAR-10 subset and a corrupted copy of its test images, and time to train.

    python benchmarks/policies.py [--data-dir DIR] [--train 2000] [--test 1000] [--seeds 3] [--steps 300] [--markdown
    FILE]

All lines of one seed share the images, the network, its first weights, the number of steps, the batch size and the
feeder. The corrupted copy has each test image changed by one of noise, blur, less contrast, brightness and coarse
pixels, which none of the policies contains as such. Stock Keras layers run in the same `tf.data` map.
"""

from __future__ import annotations

import argparse
import os

import keras
import numpy as np
import tensorflow as tf
from _training import Table, Trainer, mean_and_spread, small_cnn

import keras_aug_ssl as kas

CLASSES, BATCH = 10, 64


def by_us(*layers):
    return lambda dataset: kas.Pipeline(list(layers), seed=1).map(dataset)


def by_keras(*layers):
    def augment(images, labels):
        images = tf.cast(images, tf.float32)
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    return lambda dataset: dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE)


# For each line: what is mapped over the batches, and the views an image has in them.
LINES = {
    "plain": (lambda: lambda dataset: dataset, 1),
    "weak": (lambda: by_us(kas.layers.weak_augmentation()), 1),
    "weak, RandAugment": (lambda: by_us(kas.layers.weak_augmentation(), kas.layers.RandAugment(factor=0.3)), 1),
    "weak, RandAugment of Keras": (
        lambda: by_keras(
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(0.125, 0.125),
            keras.layers.RandAugment(factor=0.3),
        ),
        1,
    ),
    "weak, TrivialAugment": (lambda: by_us(kas.layers.weak_augmentation(), kas.layers.TrivialAugment()), 1),
    "weak, AugMix": (lambda: by_us(kas.layers.weak_augmentation(), kas.layers.AugMix()), 1),
    "weak, AugMix of Keras": (
        lambda: by_keras(
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(0.125, 0.125),
            keras.layers.AugMix(),
        ),
        1,
    ),
    "weak, AugMix with its loss": (lambda: by_us(kas.layers.weak_augmentation()), 3),
    "weak, CutMix": (lambda: by_us(kas.layers.weak_augmentation(), kas.layers.CutMix(num_classes=CLASSES)), 1),
}


def corrupted(images):
    """Each image changed by one of five corruptions, of which the strength is drawn."""
    rng = np.random.default_rng(0)
    kinds = [
        kas.layers.RandomNoise((0.05, 0.15)),
        kas.layers.RandomGaussianBlur((1.0, 1.0), kernel_size=7, sigma=(0.7, 1.5)),
        kas.layers.RandomContrast((0.7, 0.0)),
        kas.layers.RandomBrightness((0.1, 0.35)),
    ]
    result = images.copy()
    parts = np.array_split(rng.permutation(len(images)), len(kinds) + 1)
    for place, (kind, part) in enumerate(zip(kinds, parts, strict=False)):
        result[part] = kind(images[part], seed=(place, 0))
    coarse = tf.image.resize(images[parts[-1]], (16, 16), "area")
    result[parts[-1]] = np.round(tf.image.resize(coarse, images.shape[1:3], "nearest"))
    return result


def feed(x, y, seed, mapped, views):
    """Endless batches of (images, labels, weights): the same feeder for every line."""
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat()
    dataset = mapped(dataset.batch(BATCH, drop_remainder=True))
    if views > 1:
        dataset = kas.losses.augmented_views(dataset, kas.layers.AugMix(), views)

    def finish(images, labels, weights=None):
        if labels.dtype.is_integer:
            labels = tf.one_hot(labels, CLASSES)
        weights = tf.ones_like(labels[:, 0]) if weights is None else weights
        return tf.cast(images, tf.float32), labels, weights

    return dataset.map(finish).prefetch(2)


def accuracy(model, x, y):
    return np.mean(np.argmax(model.predict(x.astype("float32"), batch_size=256, verbose=0), 1) == y)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("KERAS_AUG_SSL_TFDS"), help="of TFDS")
    parser.add_argument("--lines", nargs="+", default=list(LINES), choices=list(LINES))
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    (x, y), (x_test, y_test) = kas.data.load("cifar10", data_dir=options.data_dir)
    chosen = np.random.default_rng(0).permutation(len(x_test))[: options.test]  # a subset may be sorted by class
    x_test, y_test = x_test[chosen], y_test[chosen]
    x_hard = corrupted(x_test)
    table = Table(
        f"CIFAR-10, {options.train} training images, {options.steps} steps of {BATCH}; accuracy in %, mean ± standard "
        f"deviation of {options.seeds} seeds.",
        ["line", "test images", "corrupted copy", "CPU ms a step"],
    )
    trainers = {}
    for line in options.lines:
        make, views = LINES[line]
        if views not in trainers:
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            loss = loss if views == 1 else kas.AugMixLoss(loss, views=views)
            # At twice this rate some first weights never recovered from their first steps.
            trainers[views] = Trainer(lambda: small_cnn(x.shape[1:], CLASSES, width=24), loss, options.steps, 1e-3)
        found = []
        for seed in range(options.seeds):
            few = np.random.default_rng(seed).permutation(len(x))[: options.train]
            keras.utils.set_random_seed(seed)  # the shuffling depends on it too
            model, step = trainers[views].train(feed(x[few], y[few], seed, make(), views), seed)
            found.append((accuracy(model, x_test, y_test), accuracy(model, x_hard, y_test), step))
        clean, hard, times = zip(*found, strict=True)
        table.add(line, mean_and_spread(clean), mean_and_spread(hard), mean_and_spread(times, 1.0))
    table.write(options.markdown)


if __name__ == "__main__":
    main()
