"""The networks and digits that all contenders of `attacks.py` share, handed over as arrays in .npz files."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _attack_peers import network

import keras_aug_ssl as kas

NETWORKS = {
    "plain": "trained on the digits as they are",
    "robust": "trained further on PGD examples of epsilon 0.2",
    "sharp": "the plain network with logits twenty times as large: the same decisions, and no cross-entropy gradient",
}


def digits():
    """Training and test digits, 0 to 1: (x, y), (x, y)."""
    train, test = kas.data.load("mnist5k")
    return [(part.x.astype("float32") / 255.0, part.y.astype("int64")) for part in (train, test)]


def trained(x, y):
    """Weights of every network, by its name in `NETWORKS`."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = network()
    model.compile("adam", loss)
    model.fit(x, y, epochs=12, batch_size=64, verbose=0)
    weights = {"plain": model.get_weights()}
    weights["sharp"] = [*weights["plain"][:-2], *(20.0 * part for part in weights["plain"][-2:])]
    robust = kas.AdversarialTraining(model, kas.PGD(0.2, steps=7))
    robust.compile("adam", loss)
    robust.fit(x, y, epochs=10, batch_size=64, verbose=0)
    return {**weights, "robust": model.get_weights()}


def prepare(folder):
    """Writes the test digits and every network's weights to `folder`, unless they are there."""
    if os.path.exists(os.path.join(folder, "digits.npz")):
        return
    tf.config.threading.set_intra_op_parallelism_threads(1)
    (x, y), (x_test, y_test) = digits()
    for name, weights in trained(x, y).items():
        np.savez(os.path.join(folder, f"{name}.npz"), *weights)
    np.savez(os.path.join(folder, "digits.npz"), x=x_test, y=y_test)
