"""Rotations and shifts that fool a model without changing what a picture shows."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.loop import Best, iterate
from keras_aug_ssl.adversarial.search.problem import Found, Problem
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.kernels import geometry, resample

State = dict[str, Any]
_ASIDE = 1e-3  # degrees and pixels


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class SpatialAttack(Attack):
    """The worst rotation and shift: all on a grid, then uphill from the worst (Engstrom et al. 2019, section 3).

    Pixels are read bilinearly, once, from the original; what comes in from outside has the lowest value. There is
    no ball: the largest angle and shift are the limits, and `distance` says how far the pixels moved in `norm`.

    Args:
        max_degrees: largest rotation to either side, in degrees, in [0, 180].
        max_shift: largest shift to any side, as a share of height and width, in [0, 1].
        grid: numbers of angles, vertical and horizontal shifts on the grid; 31, 5 and 5 in the paper.
        steps: gradient steps over angle and shifts from the worst point of the grid; 0 for the grid alone.
        norm: in which `distance` is given: "linf", "l2" or "l1".
        **common: `bounds`, `loss`, `targeted`, `seed`, `jit_compile`, as in `Attack`.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
        >>> image = np.random.default_rng(0).uniform(size=(1, 4, 4, 1))
        >>> kas.SpatialAttack(max_degrees=20)(keras.Sequential(layers), image).x_adv.shape
        (1, 4, 4, 1)
    """

    needs_epsilon = False

    def __init__(
        self,
        max_degrees: float = 30.0,
        max_shift: float = 0.1,
        *,
        grid: tuple[int, int, int] = (31, 5, 5),
        steps: int = 10,
        norm: str = "l2",
        **common: Any,
    ):
        owner = type(self).__name__
        super().__init__(None, norm, **common)
        self.max_degrees = checks.number(owner, "max_degrees", max_degrees, 0.0, 180.0)
        self.max_shift = checks.number(owner, "max_shift", max_shift, 0.0, 1.0)
        if not isinstance(grid, (tuple, list)) or len(grid) != 3:
            checks.fail(owner, "grid", "three numbers: of angles, vertical and horizontal shifts", grid)
        self.grid = tuple(checks.integer(owner, "grid", count, 1) for count in grid)
        self.steps = checks.integer(owner, "steps", steps, 0)

    def search(self, problem: Problem) -> Found:
        if problem.x.shape.rank != 4:
            checks.fail("SpatialAttack", "x", "images (N, height, width, channels)", tuple(problem.x.shape))
        most = self._most(problem)
        grid = tf.constant(self._grid_points(), tf.float32) * most

        def look(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            pose = tf.zeros_like(state["pose"]) + grid[i]
            x = problem.clip(self._moved(problem, pose))
            scores = problem.scores(x)
            fooled = problem.fooled(scores)
            best = state["best"].meet(x, problem.value(scores), fooled, tf.zeros_like(fooled))
            changed = best.value > state["best"].value
            return {"best": best, "pose": tf.where(changed[:, None], pose, state["pose"])}, best.fooled

        start = {"best": Best.none(problem), "pose": tf.zeros([problem.size, 3])}
        state = iterate(problem, look, start, len(self._grid_points()))
        return iterate(problem, self._climb(most), state, self.steps)["best"].found()

    def _climb(self, most: tf.Tensor) -> Any:
        """One gradient step over angle and shifts, of a share of their limits that shrinks from a tenth."""

        # Shifts by whole pixels, and none at all, lie on the kinks of bilinear weights, where gradients are zero.
        aside = _ASIDE * tf.minimum(most, 1.0)

        def body(problem: Problem, state: State, i: tf.Tensor) -> tuple[State, tf.Tensor]:
            pose = state["pose"] + tf.where(state["pose"] > 0.0, -aside, aside)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(pose)
                x = problem.clip(self._moved(problem, pose))
                scores = problem.scores(x)
                value = problem.value(scores)
            gradient = problem.sound(tape.gradient(value, pose))
            best = state["best"].meet(x, value, problem.fooled(scores), tf.reduce_all(gradient == 0.0, axis=1))
            share = 0.1 * (1.0 - tf.cast(i, tf.float32) / self.steps)
            pose = tf.clip_by_value(pose + share * most * tf.sign(gradient), -most, most)
            return {"best": best, "pose": pose}, best.fooled

        return body

    def _moved(self, problem: Problem, pose: tf.Tensor) -> tf.Tensor:
        """The originals, rotated by degrees about their middle and shifted down and right by pixels: poses (B, 3)."""
        size = problem.x.shape[1], problem.x.shape[2]
        turn = geometry.about(geometry.centre(size), geometry.rotation(pose[:, 0]))
        matrices = geometry.translation(-pose[:, 2], -pose[:, 1]) @ turn
        x, y = resample.positions(matrices, *resample.grid(size), projective=False)
        where = resample.cells(x, y, size, "constant")
        fill = tf.reduce_min(tf.where(tf.math.is_finite(problem.limits.low), problem.limits.low, 0.0))
        moved = resample.bilinear(problem.x, where, "constant", fill)
        still = spread(tf.reduce_all(pose == 0.0, axis=1), moved)
        return tf.where(still, problem.x, problem.x + problem.masked(moved - problem.x))

    def _most(self, problem: Problem) -> tf.Tensor:
        height, width = problem.x.shape[1], problem.x.shape[2]
        return tf.constant([self.max_degrees, self.max_shift * height, self.max_shift * width], tf.float32)

    def _grid_points(self) -> list[tuple[float, ...]]:
        """Points in [-1, 1]^3, the mildest first: an example leaves with the first that fools."""
        axes = (np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1) for count in self.grid)
        return sorted(itertools.product(*axes), key=lambda point: max(map(abs, point)))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["epsilon"]
        return config

    def recipe(self) -> dict[str, Any]:
        own = {"max_degrees": self.max_degrees, "max_shift": self.max_shift, "grid": self.grid, "steps": self.steps}
        return {**super().recipe(), **own}
