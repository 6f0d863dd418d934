"""Does an installed package work? Run by `make test-wheel` and by a test, away from the checkout: smoke.py FOLDER, in
which the package must lie."""

from __future__ import annotations

import sys

import keras
import numpy as np

import keras_aug_ssl as kas
from keras_aug_ssl.__main__ import main

assert kas.__file__.startswith(sys.argv[1]), kas.__file__

images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
augment = kas.Pipeline([kas.layers.RandomFlip(), kas.layers.RandomHue(0.1)])
assert augment(images).shape == images.shape

x, y = images.astype("float32") / 255.0, np.arange(8) % 2
model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
training = kas.SelfTraining(x, start_epoch=0)
model.fit(training.training_set(x, y, batch_size=8, steps=1), epochs=2, callbacks=[training], verbose=0)
assert np.abs(kas.fgsm(model, x, y, epsilon=0.1) - x).max() <= 0.1 + 1e-6
assert kas.PGD(0.1, steps=2)(model, x, y).success.shape == (8,)

model.save("model.keras")
np.savez("test.npz", x=x, y=y)
assert main(["attack", "model.keras", "test.npz", "--steps", "2"]) == 0
kas.report_versions()
