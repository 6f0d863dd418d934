"""VAT's view: the small change of the input that changes the answer most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.consistency.batches import Batch, Found, concatenated, rows_of, shifted_seeds, split
from keras_aug_ssl.consistency.losses import DISTANCES
from keras_aug_ssl.consistency.views import View, Views, unchanged
from keras_aug_ssl.meaning.heads import NUMBERS

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")

_TINY = 1e-12


@register
class VirtualAdversarial(Views):
    """The weak view moved by epsilon in the direction that changes the answer most (VAT, arXiv 1704.03976, eq. 5-13).

    The direction is found by power iteration on a finite difference: d becomes the unit vector along the gradient of
    D(p(x), p(x + xi d)). All passes see the labeled rows too and drop the same units, so that without a change the
    answer stays. Of several inputs all floats are moved, by one radius; tokens can't be.

    Args:
        weak: as for `Views`; None shows inputs as they are, as the method needs no views.
        epsilon: Euclidean length of the change of a row, in the unit of the inputs; >= 0.
        xi: length of the trial step, > 0. The paper's 1e-6 is lost in the rounding of float32.
        iterations: of the power method, >= 1.
    """

    def __init__(
        self, weak: View | None = None, *, epsilon: float = 2.5, xi: float = 1e-2, iterations: int = 1
    ) -> None:
        super().__init__(unchanged if weak is None else weak, "same")
        self.epsilon = checks.number("VirtualAdversarial", "epsilon", epsilon, 0.0)
        self.xi = checks.number("VirtualAdversarial", "xi", xi, 0.0, low_open=True)
        self.iterations = checks.integer("VirtualAdversarial", "iterations", iterations, 1)

    def find(self, trainer: Any, batch: Batch, key: tf.Tensor) -> Found:
        """Asks, looks for the worst direction, and learns there."""
        first, second, third = draws.split(key, 3)
        labeled, clean = self.weakly(batch.x, first), _floats(self.weakly(batch.unlabeled, second))
        seen = trainer.passes([labeled, clean], batch.y)

        def scores(x: Any) -> tf.Tensor:
            if not trainer.joint:
                return trainer.head.scores(trainer.aside(x, 1))
            parts = [labeled, x]
            return split(trainer.head.scores(trainer.aside(concatenated(parts), 1)), parts)[1]

        answer = scores(clean) if shifted_seeds(trainer.model, 1) else seen[1].scores
        guess = trainer.guess(batch, seen[0], [answer] if trainer.labeller.decay is None else trainer.taught([clean]))
        kind = "mse" if trainer.head.kind == NUMBERS else trainer.consistency.distance

        def distance(moved: Any) -> tf.Tensor:
            return DISTANCES[kind](trainer.head, tf.stop_gradient(guess.targets), scores(moved))

        leaves = _movable(clean)
        start = [
            tf.cast(draws.normal_array(each, rows_of(leaf), tuple(_sizes(leaf))), _exact(leaf.dtype))
            for each, leaf in zip(draws.split(third, len(leaves)), leaves, strict=True)
        ]
        direction = worst_direction(lambda d: distance(_moved(clean, d, self.xi)), start, self.iterations)
        moved = _moved(clean, direction, self.epsilon)
        return Found(trainer.supervised(batch, seen[0]), seen[0].output, guess, scores(moved))

    def get_config(self) -> dict[str, Any]:
        """Returns view, lengths and iterations."""
        config = super().get_config()
        return {name: part for name, part in config.items() if name != "strong"}


def worst_direction(distance: Callable[[list[tf.Tensor]], tf.Tensor], start: list[tf.Tensor], iterations: int) -> Any:
    """The direction that changes the answer most, by the power method (arXiv 1704.03976, eq. 9-13).

    Args:
        distance: of the answers to a batch and to the batch moved along a direction by the trial step, (N,).
        start: parts (N, ...) of a random direction, of any length.
        iterations: of the power method, >= 1.

    Returns:
        The parts of one vector of Euclidean length 1 a row; zero where the gradient is.
    """
    direction = _unit(start)
    for _ in range(iterations):
        with tf.GradientTape() as tape:
            tape.watch(direction)
            value = tf.reduce_sum(distance(direction))
        direction = _unit([tf.stop_gradient(part) for part in tape.gradient(value, direction)])
    return direction


def _floats(x: Any) -> Any:
    """Inputs of which uint8 images are floats; refuses those without any numbers to move."""
    x = tf.nest.map_structure(lambda leaf: tf.cast(leaf, tf.float32) if leaf.dtype == tf.uint8 else leaf, x)
    if not _movable(x):
        dtypes = [leaf.dtype.name for leaf in tf.nest.flatten(x)]
        checks.fail("VirtualAdversarial", "x", "inputs of floats, which can be moved", dtypes)
    return x


def _movable(x: Any) -> list[tf.Tensor]:
    return [leaf for leaf in tf.nest.flatten(x) if leaf.dtype.is_floating]


def _exact(dtype: tf.DType) -> tf.DType:
    """Lengths of small gradients are 0 in 16 bits."""
    return tf.float32 if dtype.size < 4 else dtype


def _sizes(leaf: tf.Tensor) -> list[Any]:
    dynamic = tf.shape(leaf)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(leaf.shape)][1:]


def _moved(x: Any, direction: list[tf.Tensor], length: float) -> Any:
    """Inputs moved along a direction."""
    steps = iter(direction)
    leaves = [
        leaf + tf.cast(length * next(steps), leaf.dtype) if leaf.dtype.is_floating else leaf
        for leaf in tf.nest.flatten(x)
    ]
    return tf.nest.pack_sequence_as(x, leaves)


def _unit(parts: list[tf.Tensor]) -> list[tf.Tensor]:
    """Parts of one vector a row, scaled to length 1 together; zero where the gradient is."""
    largest = [tf.reduce_max(tf.abs(tf.reshape(part, [tf.shape(part)[0], -1])), axis=1) for part in parts]
    top = tf.maximum(
        tf.reduce_max(tf.stack(largest), axis=0), tf.cast(1e-30, parts[0].dtype)
    )  # squares don't underflow
    scaled = [part / _like(top, part) for part in parts]
    squares = [tf.reduce_sum(tf.square(tf.reshape(part, [tf.shape(part)[0], -1])), axis=1) for part in scaled]
    length = tf.sqrt(tf.maximum(tf.add_n(squares), _TINY))
    return [part / _like(length, part) for part in scaled]


def _like(values: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [-1] + [1] * (part.shape.rank - 1))
