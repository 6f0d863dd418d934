"""Random numbers that belong to an example, not to its place in the batch.

A key is hashed from the example's own values, so an attack gives the same result for an image attacked alone, in any
batch, and after its batch-mates have left the loop. (`keras_aug_ssl.draws` keys by the position in a stream, which is
right for augmentation: there the same image must get new draws every epoch.)
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

# int64 carries 32-bit words: it has GPU kernels for every operation used here, uint32 does not.
_WORD = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def example_keys(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Hashes each example of `x` (B, ...) with `seed` () into a key of two words: (B, 2) int64."""
    values = tf.reshape(tf.cast(x, tf.float32), [tf.shape(x)[0], -1])
    words = tf.bitwise.bitwise_and(tf.cast(tf.bitcast(values, tf.int32), tf.int64), _WORD)
    position = tf.range(tf.shape(words, out_type=tf.int64)[1])
    first = tf.reduce_sum(words * _odd(position * 2), axis=1)
    second = tf.reduce_sum(_mix(words) * _odd(position * 2 + 1), axis=1)
    return fold(tf.bitwise.bitwise_and(tf.stack([first, second], axis=1), _WORD), seed)


def fold(keys: tf.Tensor, number: Any) -> tf.Tensor:
    """Derives new keys (B, 2) for `number`, an integer scalar such as a restart or a step."""
    number = tf.bitwise.bitwise_and(tf.cast(number, tf.int64), _WORD)
    first = _mix(keys[:, 0] + _mix(number + _GOLDEN))
    return tf.stack([first, _mix(keys[:, 1] ^ first)], axis=1)


def uniform(keys: tf.Tensor, shape: Any) -> tf.Tensor:
    """Draws uniforms in [0, 1) on a grid of 2^-24: (B, *shape) float32, one key an example."""
    shape = tf.cast(tf.convert_to_tensor(shape), tf.int32)
    counter = tf.range(tf.cast(tf.reduce_prod(shape), tf.int64))[None] * _GOLDEN
    words = _mix(_mix(counter + keys[:, :1]) ^ keys[:, 1:])
    unit = tf.cast(tf.bitwise.right_shift(words, tf.constant(8, tf.int64)), tf.float32) * 2.0**-24
    return tf.reshape(unit, tf.concat([tf.shape(keys)[:1], shape], 0))


def normal(keys: tf.Tensor, shape: Any) -> tf.Tensor:
    """Draws standard normals by the Box-Muller transform: (B, *shape) float32, one key an example."""
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - uniform(fold(keys, 0), shape)))  # 1 - u > 0: the logarithm is finite
    return radius * tf.cos((2.0 * math.pi) * uniform(fold(keys, 1), shape))


def _odd(words: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_or(_mix(words + _GOLDEN), 1)


def _mix(words: tf.Tensor) -> tf.Tensor:
    """Scrambles 32-bit words by MurmurHash3's finalizer, a bijection in which every bit depends on every bit."""
    words = tf.bitwise.bitwise_and(words, _WORD)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        words = tf.bitwise.bitwise_xor(words, tf.bitwise.right_shift(words, tf.constant(shift, tf.int64)))
        words = tf.bitwise.bitwise_and(words * factor, _WORD)
    return words
