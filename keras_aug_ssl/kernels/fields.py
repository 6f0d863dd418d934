"""Displacement fields (B, H, W, 2) of (dx, dy) pixels, from an output pixel to where it is read in the input."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from keras_aug_ssl.kernels import filters, resample
from keras_aug_ssl.kernels.geometry import Size


def elastic(noise: tf.Tensor, sigma: float, radius: int, unit: filters.Unit = filters.as_it_is) -> tf.Tensor:
    """Elastic displacement (Simard et al. 2003): white noise, smoothed.

    Args:
        noise: (B, H + 2 radius, (W + 2 radius) * 2) independent values, dx and dy of a pixel side by side. It reaches
            beyond the image, so that the field is as strong at the border as inside.
        sigma: smoothing in pixels.
        radius: the smoothing kernel is cut off at this many pixels.
        unit: as for `filters.blur`.
    """
    taps, batch = 2 * radius + 1, tf.shape(noise)[0]
    field = filters.smooth(noise, tf.fill([batch], sigma), (taps, taps), 2, unit)
    height, width = tf.shape(field)[1], tf.shape(field)[2] // 2
    return tf.reshape(field, [batch, height, width, 2])


def thin_plate(displacements: tf.Tensor, points_per_side: int, size: Size) -> tf.Tensor:
    """Thin-plate spline through a regular grid of control points (Bookstein 1989): U(r) = r^2 log r, and affine.

    Args:
        displacements: (B, n * n, 2) of (dx, dy) pixels at the control points, row by row; the outer ones lie on the
            image's corner pixels.
        points_per_side: n, at least 2.
        size: (height, width) of the field. Distances are measured in units of the sides, so that the solution of the
            linear system is one constant for every size.
    """
    height, width = size
    x, y = resample.grid(size)
    x = x / tf.maximum(tf.cast(width, tf.float32) - 1.0, 1.0)
    y = y / tf.maximum(tf.cast(height, tf.float32) - 1.0, 1.0)
    x, y = (tf.reshape(axis, [-1, 1]) for axis in (x + tf.zeros_like(y), y + tf.zeros_like(x)))
    control, solution = _thin_plate_system(points_per_side)
    squared = tf.square(x - control[:, 0]) + tf.square(y - control[:, 1])
    basis = tf.concat([_radial(squared), tf.ones_like(x), x, y], 1)
    field = tf.einsum("pk,bkc->bpc", basis @ solution, displacements)
    return tf.reshape(field, [-1, height, width, 2])


@functools.cache
def _thin_plate_system(points_per_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Control points (K, 2) in the unit square, and the (K + 3, K) matrix from their displacements to coefficients."""
    side = np.linspace(0.0, 1.0, points_per_side)
    control = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    squared = np.square(control[:, None] - control).sum(-1)
    affine = np.concatenate([np.ones((len(control), 1)), control], 1)
    radial = 0.5 * squared * np.log(np.where(squared > 0, squared, 1.0))
    system = np.block([[radial, affine], [affine.T, np.zeros((3, 3))]])
    return control.astype(np.float32), np.linalg.inv(system)[:, : len(control)].astype(np.float32)


def _radial(squared: tf.Tensor) -> tf.Tensor:
    """U as a function of r^2: r^2 log r = r^2 log(r^2) / 2, and 0 at 0."""
    return 0.5 * squared * tf.math.log(tf.where(squared > 0.0, squared, 1.0))
