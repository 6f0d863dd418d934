"""The nearest point of a hyperplane inside a box: one linearised step of DeepFool and FAB, exact at the bounds.

Steps that forget the box and clip afterwards fall short of the plane, again and again, just before the boundary.
"""

from __future__ import annotations

import tensorflow as tf

from keras_aug_ssl.adversarial.threat.balls import Ball

_ROUNDS = 12  # Newton's method ends after as many rounds as coordinates meet the box in groups; mostly below 6
_TINY = 1e-30


def reach(ball: Ball, normal: tf.Tensor, gain: tf.Tensor, down: tf.Tensor, up: tf.Tensor) -> tf.Tensor:
    """The smallest change whose inner product with `normal` is `gain`.

    Args:
        ball: the norm to be small in.
        normal: (R, n) normals of the planes.
        gain: (R,) inner products to reach; below 0 counts as 0.
        down: (R, n) how far each value may fall, <= 0.
        up: (R, n) how far each may rise, >= 0.

    Returns:
        (R, n) changes inside the box; where it holds no point of the plane, the one that comes nearest to it.
    """
    size = tf.abs(normal)
    room = tf.where(normal > 0, up, -down)
    gain = tf.maximum(gain, 0.0)
    if ball.name == "l1":
        change = _fill(size, room, gain)
    else:
        change = _rise(size, tf.ones_like(size) if ball.name == "linf" else size, room, gain)
    return tf.sign(normal) * change


def _rise(size: tf.Tensor, speed: tf.Tensor, room: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
    """min(t * speed, room) with the t at which `size` times it adds up to `gain`.

    That sum is concave in t, so Newton's method from 0 rises to the answer without passing it.
    """

    def advance(step: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        change = tf.minimum(t[:, None] * speed, room)
        missing = gain - tf.reduce_sum(size * change, axis=1)
        slope = tf.reduce_sum(tf.where(t[:, None] * speed < room, size * speed, 0.0), axis=1)
        more = tf.where(slope > _TINY, missing / tf.maximum(slope, _TINY), 0.0)
        return step + 1, t + tf.maximum(more, 0.0)

    start = (tf.constant(0), tf.zeros_like(gain))
    _, t = tf.while_loop(lambda step, t: step < _ROUNDS, advance, start, parallel_iterations=1)
    return tf.minimum(t[:, None] * speed, room)


def _fill(size: tf.Tensor, room: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
    """Uses up the room of the values that gain most first: L1 counts every change alike."""
    order = tf.argsort(size, axis=1, direction="DESCENDING", stable=True)
    # Without bounds the room is infinite; nothing is worth more than what is asked for.
    worth = tf.minimum(tf.math.multiply_no_nan(room, size), gain[:, None])
    before = tf.cumsum(tf.gather(worth, order, batch_dims=1), axis=1, exclusive=True)
    missing = tf.maximum(gain[:, None] - tf.gather(before, tf.argsort(order, axis=1), batch_dims=1), 0.0)
    return tf.where(size > 0.0, tf.minimum(missing / tf.maximum(size, _TINY), room), 0.0)
