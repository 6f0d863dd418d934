"""Square: random search that needs scores only, no gradient."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.loop import Best, iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat import noise
from keras_aug_ssl.adversarial.threat.balls import spread

State = dict[str, Any]
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 steps; the paper's section 5.1


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Square(Attack):
    """Changes squares of the picture at random and keeps what helps (Andriushchenko et al. 2020, algorithms 1 to 3).

    It needs no gradient, so it sees through masked ones: where it does better than a white-box attack, that attack is
    broken. Squares shrink as the search goes on. In inputs without height and width they are runs of values.

    Args:
        epsilon: radius of the ball in the unit of the model's input, >= 0.
        norm: "linf", "l2" or "l1".
        steps: evaluations for each example.
        share: share of the picture that the first squares cover, in (0, 1].
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`; the paper raises the margin.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> kas.Square(epsilon=0.2, steps=50)(model, np.array([[0.75, 0.5], [0.9, 0.1]]), [0, 0]).success
        array([ True, False])
    """

    differentiates = False

    def __init__(
        self, epsilon: float = 8 / 255, norm: str = "linf", *, steps: int = 5000, share: float = 0.8, **common: Any
    ):
        super().__init__(epsilon, norm, **{"loss": "margin", **common})
        self.steps = checks.integer("Square", "steps", steps, 1)
        self.share = checks.number("Square", "share", share, 0.0, 1.0, low_open=True)

    def search(self, problem: Problem) -> Found:
        shares = tf.constant([self._share(i) for i in range(self.steps)], tf.float32)
        move = _recolor if self.norm == "linf" else _gather_mass

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            best = state["best"]
            keys = noise.fold(problem.rows["keys"], i)
            begin = _stripes if self.norm == "linf" else _tiles
            x = tf.cond(
                i > 0,
                lambda: move(problem, keys, best.x, shares[i]),
                lambda: begin(problem, keys),
            )
            x = tf.ensure_shape(problem.project(x), problem.x.shape)
            scores = problem.scores(x)
            fooled = problem.fooled(scores)
            best = best.meet(x, problem.value(scores), fooled, tf.zeros_like(fooled))
            return {"best": best}, fooled

        return iterate(problem, body, {"best": Best.none(problem)}, self.steps)["best"].found()

    def _share(self, i: int) -> float:
        place = i * 10_000 / self.steps
        return self.share / 2.0 ** sum(place > halving for halving in _HALVINGS)

    def recipe(self) -> dict[str, Any]:
        return {**super().recipe(), "steps": self.steps, "share": self.share}


class _Grid:
    """Positions in one example: height and width, or one axis and 1 for inputs that aren't pictures."""

    def __init__(self, x: tf.Tensor):
        shape = [int(n) for n in x.shape[1:]]
        self.height, self.width = (shape[0], shape[1]) if len(shape) == 3 else (math.prod(shape), 1)
        self.channels = shape[2] if len(shape) == 3 else 1

    def fold(self, x: tf.Tensor) -> tf.Tensor:
        """(B, ...) to (B, height, width, channels)."""
        return tf.reshape(x, [-1, self.height, self.width, self.channels])

    def side(self, share: tf.Tensor, least: int) -> tf.Tensor:
        """Side of a square that covers `share` of the picture."""
        cells = share * self.height * self.width
        side = tf.cast(tf.round(tf.sqrt(cells) if self.width > 1 else cells), tf.int32)
        return tf.clip_by_value(side, least, self.height)

    def window(self, keys: tf.Tensor, side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Offsets (B, height, 1) and (B, 1, width) of all positions from the corner of one random square each."""
        unit = noise.uniform(keys, [2])
        rows, columns = tf.range(self.height), tf.range(self.width)
        top = tf.cast(unit[:, 0] * tf.cast(tf.maximum(self.height - side, 0) + 1, tf.float32), tf.int32)
        left = tf.cast(unit[:, 1] * tf.cast(tf.maximum(self.width - side, 0) + 1, tf.float32), tf.int32)
        return (rows - top[:, None])[:, :, None], (columns - left[:, None])[:, None, :]


def _inside(offsets: tuple[tf.Tensor, tf.Tensor], side: tf.Tensor) -> tf.Tensor:
    """(B, height, width, 1) float: 1 in the square."""
    down, across = offsets
    inside = (down >= 0) & (down < side) & (across >= 0) & (across < side)
    return tf.cast(inside, tf.float32)[..., None]


def _signs(keys: tf.Tensor, shape: list[int]) -> tf.Tensor:
    return tf.where(noise.uniform(keys, shape) < 0.5, -1.0, 1.0)


def _stripes(problem: Problem, keys: tf.Tensor) -> tf.Tensor:
    """Vertical stripes of plus and minus the radius, to which convolutions are sensitive."""
    grid = _Grid(problem.x)
    shape = [1, grid.width, grid.channels] if grid.width > 1 else [grid.height, 1, grid.channels]
    stripes = _spans(problem) * _signs(keys, shape) + tf.zeros_like(grid.fold(problem.x))
    return problem.x + tf.reshape(stripes, tf.shape(problem.x))


def _recolor(problem: Problem, keys: tf.Tensor, x: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Moves one square to the drawn side of the ball in each channel, to the other sides where that changes nothing."""
    grid = _Grid(x)
    side = grid.side(share, 1)
    square = _inside(grid.window(noise.fold(keys, 0), side), side)
    change = 2.0 * _spans(problem) * _signs(noise.fold(keys, 1), [1, 1, grid.channels]) * square
    change = tf.reshape(change, tf.shape(x))
    moved = problem.project(x + change)
    # A square that is already on the drawn side would waste an evaluation: it goes to the other side.
    idle = tf.reduce_all(tf.abs(moved - x) < 1e-3 * problem.span, axis=list(range(1, len(x.shape))), keepdims=True)
    return tf.where(idle, x - change, moved)


def _tiles(problem: Problem, keys: tf.Tensor) -> tf.Tensor:
    """Bumps of random sign on a grid of about five by five tiles, as large as the radius allows."""
    grid = _Grid(problem.x)
    side = max(grid.height // 5, 1)
    rows, columns = tf.range(grid.height), tf.range(grid.width)
    bumps = _bump(grid, (rows[None, :, None] % side, columns[None, None, :] % side), tf.constant(side))
    tiles = -(-grid.height // side), -(-grid.width // side)
    signs = _signs(keys, [*tiles, grid.channels])
    signs = tf.repeat(tf.repeat(signs, side, axis=1), side, axis=2)[:, : grid.height, : grid.width]
    return _at_radius(problem, bumps * signs)


def _gather_mass(problem: Problem, keys: tf.Tensor, x: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Takes the perturbation of one square away and spends what it frees, and all spare radius, on another."""
    grid = _Grid(x)
    side = grid.side(share, 3)
    side = tf.minimum(side + 1 - side % 2, grid.height)
    delta = grid.fold(x - problem.x)
    to = grid.window(noise.fold(keys, 0), side)
    target, source = _inside(to, side), _inside(grid.window(noise.fold(keys, 1), side), side)
    norm = _norm_of(problem)
    old = delta * target / (norm(delta * target, keepdims=True) + 1e-12)
    new = (_bump(grid, to, side) * _signs(noise.fold(keys, 2), [1, 1, grid.channels]) + old) * target
    freed = norm(delta * tf.maximum(target, source), keepdims=True)
    spare = tf.maximum(spread(problem.radius**2 - norm(delta, all_channels=True) ** 2, delta), 0.0)
    new = new / (norm(new, keepdims=True) + 1e-12) * tf.sqrt(spare / grid.channels + freed**2)
    delta = delta * (1.0 - tf.maximum(target, source)) + new
    return _at_radius(problem, delta)


def _norm_of(problem: Problem) -> Any:
    """Norms of perturbations (B, height, width, C): of each channel, (B, 1, 1, C), or of all, (B,)."""

    def norm(delta: tf.Tensor, keepdims: bool = False, all_channels: bool = False) -> tf.Tensor:
        axes = [1, 2, 3] if all_channels else [1, 2]
        if problem.ball.name == "l1":
            return tf.reduce_sum(tf.abs(delta), axis=axes, keepdims=keepdims)
        return tf.sqrt(tf.reduce_sum(tf.square(delta), axis=axes, keepdims=keepdims))

    return norm


def _spans(problem: Problem) -> tf.Tensor:
    """The radius, in a shape that multiplies (B, height, width, C)."""
    return spread(problem.radius, tf.zeros([1, 1, 1, 1]))


def _at_radius(problem: Problem, delta: tf.Tensor) -> tf.Tensor:
    delta = problem.masked(tf.reshape(delta, tf.shape(problem.x)))
    size = tf.maximum(problem.ball.size(delta), 1e-12)
    return problem.x + delta * spread(problem.radius / size, delta)


def _bump(grid: _Grid, offsets: tuple[tf.Tensor, tf.Tensor], side: tf.Tensor) -> tf.Tensor:
    """The paper's eta (eq. 3): a positive and a negative bump, one above the other, (B, height, width, 1), of norm 1.

    A value at k rings from the middle of its half is the sum of 1 / m^2 over the rings m > k.
    """
    down, across = offsets
    upper = side // 2
    middle = tf.where(down < upper, upper // 2, upper + (side - upper) // 2)
    rings = tf.maximum(tf.abs(down - middle), tf.abs(across - side // 2))
    most = max(grid.height, grid.width) + 1
    tail = np.cumsum(1.0 / np.arange(1, most + 1)[::-1] ** 2)[::-1]
    heights = tf.gather(tf.constant(tail.copy(), tf.float32), tf.clip_by_value(rings, 0, most - 1))
    bump = tf.where(down < upper, heights, -heights)[..., None] * _inside(offsets, side)
    return bump / (tf.sqrt(tf.reduce_sum(tf.square(bump), axis=[1, 2], keepdims=True)) + 1e-12)
