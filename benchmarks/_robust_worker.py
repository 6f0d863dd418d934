"""One contender of `robust_training.py --peers` in a process of its own, on one thread:

    python _robust_worker.py CONTENDER FOLDER EPSILON STEPS EPOCHS BATCH

It reads `start.npz` (weights) and `rows.npz`, trains by PGD from random starts with Adam at 0.001 and steps of
2.5 epsilon / STEPS, and writes `end.npz`: the weights, and the median processor seconds of an epoch behind the first.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

import numpy as np
from _attack_peers import _torch_network, network


def ours(weights, x, y, epsilon, steps, epochs, batch):
    """keras_aug_ssl."""
    import keras

    import keras_aug_ssl as kas

    class Clock(keras.callbacks.Callback):
        seconds: list[float] = []

        def on_epoch_begin(self, epoch, logs=None):
            self.begun = time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.process_time() - self.begun)

    model = network()
    model.set_weights(weights)
    trainer = kas.AdversarialTraining(model, kas.PGD(epsilon, steps=steps))
    trainer.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    clock = Clock()
    trainer.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=[clock])
    return model.get_weights(), clock.seconds


def art(weights, x, y, epsilon, steps, epochs, batch):
    """ART's AdversarialTrainer with adversarial examples only, over a TensorFlow classifier."""
    import keras
    import tensorflow as tf
    from art.attacks.evasion import ProjectedGradientDescent
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import TensorFlowV2Classifier

    model = network()
    model.set_weights(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    adam = keras.optimizers.Adam(1e-3)
    adam.build(model.trainable_variables)

    @tf.function
    def train_step(model, images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        adam.apply_gradients(
            zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True)
        )

    wrapped = TensorFlowV2Classifier(
        model, nb_classes=10, input_shape=x.shape[1:], loss_object=loss, train_step=train_step, clip_values=(0, 1)
    )
    attack = ProjectedGradientDescent(
        wrapped, np.inf, epsilon, 2.5 * epsilon / steps, max_iter=steps, num_random_init=1, batch_size=batch,
        verbose=False,
    )  # fmt: skip
    trainer = AdversarialTrainer(wrapped, attack, ratio=1.0)
    one_hot, seconds = np.eye(10, dtype="float32")[y], []
    for _ in range(epochs):
        begun = time.process_time()
        trainer.fit(x, one_hot, batch_size=batch, nb_epochs=1)
        seconds.append(time.process_time() - begun)
    return model.get_weights(), seconds


def torchattacks(weights, x, y, epsilon, steps, epochs, batch):
    """The usual PyTorch loop with torchattacks."""
    import torch
    import torchattacks as ta

    torch.set_num_threads(1)
    model = _torch_network(torch, weights)
    adam, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.CrossEntropyLoss()
    attack = ta.PGD(model, epsilon, 2.5 * epsilon / steps, steps, random_start=True)
    images, labels = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y)
    draw, seconds = np.random.default_rng(0), []
    for _ in range(epochs):
        begun = time.process_time()
        order = torch.from_numpy(draw.permutation(len(x)))
        for first in range(0, len(x), batch):
            rows = order[first : first + batch]
            moved = attack(images[rows], labels[rows])
            model.train()
            adam.zero_grad()
            loss(model(moved), labels[rows]).backward()
            adam.step()
        seconds.append(time.process_time() - begun)
    arrays = [parameter.detach().numpy() for parameter in model.parameters()]
    axes = [(2, 3, 1, 0) if array.ndim == 4 else range(array.ndim)[::-1] for array in arrays]
    return [array.transpose(order) for array, order in zip(arrays, axes, strict=True)], seconds


CONTENDERS = {"keras_aug_ssl": ours, "ART": art, "torchattacks": torchattacks}


def main():
    contender, folder, epsilon, steps, epochs, batch = sys.argv[1:]
    with np.load(os.path.join(folder, "start.npz")) as arrays:
        weights = [arrays[key] for key in arrays.files]
    with np.load(os.path.join(folder, "rows.npz")) as arrays:
        x, y = arrays["x"], arrays["y"]
    budget = float(epsilon), int(steps), int(epochs), int(batch)
    weights, seconds = CONTENDERS[contender](weights, x, y, *budget)
    median = statistics.median(seconds[1:] or seconds)
    np.savez(os.path.join(folder, "end.npz"), *weights, np.float64(median))


if __name__ == "__main__":
    main()
