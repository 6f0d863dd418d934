"""The laws of a consistency method as small named checks, for our recipes and for a user's."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.consistency import ConsistencyModel
from keras_aug_ssl.data import EpochCounter, labeled_unlabeled
from keras_aug_ssl.testing.laws import Law, broken, held, register, same

LAWS: list[Law] = []
CLASSES, FEATURES, STEPS = 3, 4, 3


class ConsistencySubject:
    """A method under test, a network for it, and clusters to learn.

    Args:
        make: makes the method around a model; the same each time.
    """

    def __init__(self, make: Callable[[keras.Model], ConsistencyModel]) -> None:
        self.make = make
        made = make(self.network())
        if not isinstance(made, ConsistencyModel):
            checks.fail(
                "check_consistency", "make", "a function that returns a ConsistencyModel", made, error=TypeError
            )
        self.name = made.name
        draw = np.random.default_rng(0)
        self.y, self.hidden = np.tile(np.arange(CLASSES), 4), np.tile(np.arange(CLASSES), 16)
        self.x, self.pool = (
            (2.0 * np.eye(FEATURES)[y] + 0.5 * draw.normal(size=(len(y), FEATURES))).astype("float32")
            for y in (self.y, self.hidden)
        )

    @staticmethod
    def network() -> keras.Model:
        """A small network with logits and dropout; the same weights and random states each time."""
        start = [keras.initializers.GlorotUniform(seed) for seed in (0, 1)]
        return keras.Sequential(
            [
                keras.Input((FEATURES,)),
                keras.layers.Dense(8, "relu", kernel_initializer=start[0]),
                keras.layers.Dropout(0.2, seed=2),
                keras.layers.Dense(CLASSES, kernel_initializer=start[1]),
            ]
        )

    def compiled(self, **settings: Any) -> ConsistencyModel:
        """The method around a new network, compiled."""
        made = self.make(self.network())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile(keras.optimizers.Adam(0.02), loss, **{"metrics": ["accuracy"], "jit_compile": False, **settings})
        return made

    def stream(self, oracle: Any = None, epoch: EpochCounter | None = None) -> tf.data.Dataset:
        """Three batches of 6 labeled and 12 unlabeled rows."""
        pool = self.pool
        return labeled_unlabeled(
            (self.x, self.y), pool, batch_size=6, ratio=2, steps=STEPS, seed=1, oracle=oracle, epoch=epoch
        )

    def trained(self, epochs: int = 2, oracle: Any = None, **settings: Any) -> ConsistencyModel:
        """The method after a few steps."""
        made, counter = self.compiled(**settings), EpochCounter()
        made.fit(self.stream(oracle, counter), epochs=epochs, callbacks=[counter], verbose=0)
        return made


def check_consistency(
    make: Callable[[keras.Model], ConsistencyModel], *, only: Sequence[str] | None = None, skip: Sequence[str] = ()
) -> list[str]:
    """Checks that a consistency method keeps the laws every one has to keep.

    Run it over a method of your own, in a test. The laws are in `CONSISTENCY_LAWS`: each is a name, a sentence and a
    check. They show it rows of four numbers in three classes, so its views must take such rows.

    Args:
        make: makes a new method around the model it gets, the same each time.
        only: names of the laws to check; None checks all.
        skip: names of laws to leave out.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: a law is broken; it says which, and how.

    Example:
        >>> import keras_aug_ssl as kas
        >>> make = lambda model: kas.FixMatch(model, weak=lambda x: x, strong=lambda x: 0.9 * x, threshold=0.6)
        >>> kas.testing.check_consistency(make, only=["hidden labels teach nothing"])
        ['hidden labels teach nothing']
    """
    return held("check_consistency", CONSISTENCY_LAWS, lambda: ConsistencySubject(make), only, skip)


def _same_weights(one: ConsistencyModel, other: ConsistencyModel, what: str, tolerance: float = 0.0) -> None:
    for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        same(a, b, what, tolerance)


@register(LAWS, "is the wrapped model", graphs=True)
def _is_the_wrapped_model(subject: ConsistencySubject) -> None:
    """In everything but training it is the wrapped model: its predictions, its metrics, its file."""
    made = subject.trained(epochs=1)
    same(made.predict(subject.x, verbose=0), made.model.predict(subject.x, verbose=0), "predictions of both", 1e-6)
    ours = made.evaluate(subject.x, subject.y, verbose=0, return_dict=True)
    theirs = made.model.evaluate(subject.x, subject.y, verbose=0, return_dict=True)
    for name in theirs:
        same(ours.get(name, np.nan), theirs[name], f"the {name} of both", 1e-5)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "model.keras")
        loaded = keras.saving.load_model(Path(folder) / "model.keras")
    if isinstance(loaded, ConsistencyModel):
        broken("`save` saved the method, not the model")
    same(loaded.predict(subject.x, verbose=0), made.predict(subject.x, verbose=0), "saved and loaded", 1e-6)


@register(LAWS, "seeds decide", graphs=True)
def _seeds_decide(subject: ConsistencySubject) -> None:
    """Trained twice on the same stream it is the same, bit for bit."""
    _same_weights(subject.trained(), subject.trained(), "two trainings")


@register(LAWS, "hidden labels teach nothing", graphs=True)
def _hidden_labels_teach_nothing(subject: ConsistencySubject) -> None:
    """True labels beside the unlabeled rows are for the logs: scrambled, they change no weight."""
    scrambled = np.random.default_rng(3).permutation(subject.hidden)
    one, other = subject.trained(oracle=subject.hidden), subject.trained(oracle=scrambled)
    _same_weights(one, other, "trainings with true and with scrambled labels")


@register(LAWS, "learns from the unlabeled rows", graphs=True)
def _learns_from_unlabeled_rows(subject: ConsistencySubject) -> None:
    """Other unlabeled rows, other weights."""
    one, kept = subject.trained(epochs=4), subject.pool
    try:
        subject.pool = -3.0 * kept
        other = subject.trained(epochs=4)
    finally:
        subject.pool = kept
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    if all(np.array_equal(a, b) for a, b in pairs):
        broken("nothing changed")


@register(LAWS, "one spoiled row spoils nothing", graphs=True)
def _spoiled_row(subject: ConsistencySubject) -> None:
    """An unlabeled row of NaN leaves the weights finite, and a warning says that it is there."""
    kept = subject.pool
    try:
        subject.pool = np.where(np.arange(len(kept))[:, None] == 5, np.nan, kept).astype(kept.dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = subject.trained(epochs=2)
    finally:
        subject.pool = kept
    if not all(np.isfinite(weight).all() for weight in made.model.get_weights()):
        broken("weights are not finite")
    if not any("NaN" in str(each.message) for each in caught):
        broken("nothing was said")


@register(LAWS, "interrupted equals uninterrupted", graphs=True)
def _interrupted_equals_uninterrupted(subject: ConsistencySubject) -> None:
    """Its weights file holds all it remembers: a training that goes on from it ends as one that never stopped."""
    whole, first = subject.trained(epochs=3), subject.trained(epochs=1)
    second, counter = subject.compiled(), EpochCounter()
    with tempfile.TemporaryDirectory() as folder:
        first.save_weights(Path(folder) / "state.weights.h5")
        second.optimizer.build(second.trainable_variables)
        second.load_weights(Path(folder) / "state.weights.h5")
    second.fit(subject.stream(None, counter), epochs=3, initial_epoch=1, callbacks=[counter], verbose=0)
    _same_weights(whole, second, "uninterrupted and interrupted trainings")


@register(LAWS, "graph equals eager", graphs=True)
def _graph_equals_eager(subject: ConsistencySubject) -> None:
    """Operation by operation, as a graph, and in several steps a call it learns the same; XLA compiles it."""
    plain = subject.trained()
    _same_weights(plain, subject.trained(run_eagerly=True), "graph and eager trainings", 1e-4)
    _same_weights(plain, subject.trained(steps_per_execution=3), "one and three steps a call", 1e-4)
    # XLA draws other random numbers than TensorFlow for views of a user's own: there the weights need only be finite.
    if not all(np.isfinite(weight).all() for weight in subject.trained(jit_compile=True).model.get_weights()):
        broken("weights are not finite after a training compiled by XLA")


@register(LAWS, "made anew from its config", graphs=True)
def _made_anew(subject: ConsistencySubject) -> None:
    """`get_config` names all its settings: what `from_config` makes of it learns the same."""
    made = subject.compiled()
    again = type(made).from_config(made.get_config())
    if again.get_config() != made.get_config():
        broken("the config of the second differs")


CONSISTENCY_LAWS: dict[str, Law] = {law.name: law for law in LAWS}
