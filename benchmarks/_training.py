"""What the training benchmarks share: one compiled network trained again and again, and tables of mean and spread."""

from __future__ import annotations

import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf


class Trainer:
    """One network that is compiled once and starts from new weights for each run.

    Args:
        build: makes the network; called after a seed was set.
        loss, learning_rate: for Adam with a cosine decay to 0.
        steps: gradient steps of every run.
    """

    def __init__(self, build, loss, steps, learning_rate=2e-3):
        self.build, self.steps = build, steps
        self.model = build()
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        self.model.compile(keras.optimizers.Adam(schedule), loss)

    def train(self, dataset, seed):
        """Trains new weights on endless batches of (x, y, sample_weight); returns the model and CPU ms a step."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.build().get_weights())
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        clock = _Clock(self.steps // 10)
        self.model.fit(dataset, epochs=1, steps_per_epoch=self.steps, verbose=0, shuffle=False, callbacks=[clock])
        return self.model, 1000.0 * clock.seconds_a_step()


class _Clock(keras.callbacks.Callback):
    """Processor time of the steps behind the first few, in which functions are traced and compiled.

    Augmentation in other threads counts in; what else the machine does counts little.
    """

    def __init__(self, skipped):
        super().__init__()
        self.skipped, self.times = skipped, []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.process_time())

    def seconds_a_step(self):
        times = self.times[self.skipped :]
        return (times[-1] - times[0]) / (len(times) - 1)


def small_cnn(shape, outputs, width=16):
    """A small convolutional network on images of 0 .. 255."""
    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 127.5, -1.0)]
    for factor in (1, 2):
        layers += [
            keras.layers.Conv2D(factor * width, 3, strides=2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(outputs)]
    return keras.Sequential(layers)


def mean_and_spread(values, unit=100.0, digits=1):
    """ "mean ± standard deviation" of runs; of one run what it gave."""
    values = [unit * value for value in values]
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


class Table:
    """Lines of a table, printed as they come and written to a file at the end."""

    def __init__(self, title, columns):
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        self.lines = [f"{title} {machine}Keras {keras.__version__}, TensorFlow {tf.__version__}.", ""]
        self.lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        print("\n".join(self.lines), flush=True)

    def add(self, *cells):
        self.lines.append("| " + " | ".join(map(str, cells)) + " |")
        print(self.lines[-1], flush=True)

    def write(self, path):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(self.lines) + "\n")
