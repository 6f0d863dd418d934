"""Checks of what an attack may touch: bounds, mask, and inputs inside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks


def check_bounds(owner: str, bounds: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns (low, high) as float32 arrays, numbers or of the shape of an example."""
    expected = "(low, high) with low < high, numbers or arrays of the shape of one example"
    try:
        low, high = (np.asarray(bound, np.float32) for bound in bounds)
        wrong = np.isnan(low).any() or np.isnan(high).any() or not (low <= high).all() or not (low < high).any()
    except (TypeError, ValueError):
        checks.fail(owner, "bounds", expected, bounds, error=TypeError)
    if wrong:
        checks.fail(owner, "bounds", expected, bounds)
    return low, high


def check_inputs(owner: str, x: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns `x` as float32 when it is finite and inside `bounds`; they are in the unit of the model's input."""
    if x.dtype.kind not in "biuf":
        checks.fail(owner, "x", "an array of numbers", x.dtype, error=TypeError)
    x = x.astype(np.float32, copy=False)
    low, high = bounds
    try:
        np.broadcast_shapes(low.shape, x.shape[1:])
        np.broadcast_shapes(high.shape, x.shape[1:])
    except ValueError:
        checks.fail(owner, "bounds", f"numbers or arrays that broadcast to {x.shape[1:]}", (low.shape, high.shape))
    axis = 0 if low.ndim or high.ndim else None  # all values at once take half as long
    if not np.all((x.min(axis) >= low) & (x.max(axis) <= high)):  # false for NaN
        span = f"values in [{np.min(x):g}, {np.max(x):g}]" if np.isfinite(x).all() else "values that aren't finite"
        checks.fail(
            owner, "x", f"inside bounds ({np.min(low):g}, {np.max(high):g})", span,
            "Bounds and epsilon are in the unit of the model's input: for images of 0 to 255 give bounds=(0, 255).",
        )  # fmt: skip
    return x


def inside(owner: str, x: tf.Tensor, bounds: tuple[np.ndarray, np.ndarray]) -> tf.Tensor:
    """`check_inputs` in graph code: stops a run whose inputs leave the bounds, or an attack would cut them off.

    XLA leaves assertions out; there such values become NaN, and so does the loss, which can't pass for a training.
    """
    low, high = bounds
    x = tf.cast(x, tf.float32)
    within = (x >= low) & (x <= high)
    message = f"{owner}: inputs must lie inside the attack's bounds ({np.min(low):g}, {np.max(high):g})."
    tf.debugging.Assert(tf.reduce_all(within), [message, tf.reduce_min(x), tf.reduce_max(x)])
    return tf.where(within, x, np.nan)


def check_mask(owner: str, mask: Any, x: Any, start: int) -> np.ndarray | None:
    """Returns the mask of a batch: of the shape of an example, or with one row for each of its rows.

    Args:
        owner: who asks, for errors.
        mask: None, an array that broadcasts to one example, or one with a row for each example of the data.
        x: the attacked inputs of the batch, (B, ...).
        start: position of the batch in the data.
    """
    if mask is None:
        return None
    mask = np.asarray(mask, np.float32)
    if not np.isin(mask, (0, 1)).all():
        checks.fail(owner, "mask", "1 where a value may change and 0 elsewhere", mask)
    shape = np.shape(x)
    if mask.ndim == len(shape):
        mask = mask[0] if len(mask) == 1 else mask[start : start + shape[0]]
    rows = mask.ndim == len(shape)
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape and (not rows or len(mask) == shape[0])
    except ValueError:
        fits = False
    if not fits:
        checks.fail(
            owner, "mask", f"of a shape that broadcasts to one example {shape[1:]}, or with a row for each example",
            f"shape {mask.shape}",
        )  # fmt: skip
    return mask
