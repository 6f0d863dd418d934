"""Laws about draws and about pixel values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl.testing.laws import Law, broken, register, same
from keras_aug_ssl.testing.subject import KEY, Subject

LAWS: list[Law] = []
OTHER_KEY = (7, 4)
JUMPS = 0.01  # share of values that may lie on the other side of a jump of a tone curve


# --- draws ------------------------------------------------------------------------------------------------------------


@register(LAWS, "inference is the identity", lambda subject: not subject.active_at_inference)
def inference_is_identity(subject: Subject) -> None:
    """With `training=False` the images come back bit for bit."""
    for dtype in ("float32", "uint8") if subject.holds_bytes else ("float32",):
        images = subject.images(dtype)
        same(subject.layer(images, training=False), images, f"output and input ({dtype})")


@register(
    LAWS,
    "neutral parameters are the identity",
    lambda subject: subject.has_parameters and not subject.active_at_inference,
)
def neutral_parameters_are_identity(subject: Subject) -> None:
    """Parameters that `keep` neutralises leave every image as it is, and only those images for which it does."""
    layer, images = subject.layer, subject.images()
    drawn = layer.sample(subject.shown(images), KEY)
    none, some = np.zeros(4, bool), np.array([True, False, True, False])

    def applied(parameters: Any) -> Any:
        return subject.images_of(layer.apply(subject.shown(images), parameters))

    same(applied(layer.keep(tf.constant(none), drawn)), images, "output and input", 1e-5 * subject.span)
    if subject.independent:
        part, whole = applied(layer.keep(tf.constant(some), drawn)), applied(drawn)
        same(tf.boolean_mask(part, some), tf.boolean_mask(whole, some), "kept images and those of the full draw")
        same(tf.boolean_mask(part, ~some), images[~some], "neutral images and the input", 1e-5 * subject.span)


@register(LAWS, "same key, same output")
def same_key_same_output(subject: Subject) -> None:
    """The output is a function of the inputs and the key; neither earlier calls nor the layer's own seed matter."""
    images = subject.images()
    first = subject.augment()(images)
    subject.layer(subject.shown(images), training=True)
    same(subject.augment()(images), first, "a later call and the first")
    same(subject.augment(subject.plain())(images), first, "a new layer and the first")


@register(LAWS, "sample, then apply", lambda subject: subject.has_parameters)
def sample_then_apply(subject: Subject) -> None:
    """`apply` with the parameters that `sample` draws gives what a call with the same key gives."""
    images = subject.images()
    shown = subject.shown(images)
    replayed = subject.images_of(subject.layer.apply(shown, subject.layer.sample(shown, KEY)))
    same(replayed, subject.augment()(images), "replayed and called", 1e-4 * subject.span, JUMPS)


@register(LAWS, "batch-mates don't matter", lambda subject: subject.independent)
def batch_mates_do_not_matter(subject: Subject) -> None:
    """An image's result depends on its own values and its place, not on what follows or precedes it in the batch."""
    images = subject.images()
    others = np.concatenate([images[:2], images[3:1:-1]])
    whole = subject.augment()(images)
    same(subject.augment()(images[:3]), whole[:3], "a shorter batch and the full one", 1e-4 * subject.span, JUMPS)
    same(subject.augment()(others)[:2], whole[:2], "images beside others and as before", 1e-4 * subject.span, JUMPS)


@register(LAWS, "draws follow the position", lambda subject: subject.has_parameters and subject.independent)
def draws_follow_the_position(subject: Subject) -> None:
    """What is drawn for an image depends on its position in the data, however they are cut into batches."""
    images = subject.images()
    whole = tf.nest.flatten(subject.layer.sample(images, KEY))
    tail = tf.nest.flatten(subject.layer.sample(images[1:], KEY, first=1))
    for one, other in zip(tail, whole, strict=True):
        same(one, other[1:], "parameters of a batch that begins at position 1 and of one that begins at 0", 1e-5)


@register(LAWS, "images draw for themselves", lambda subject: subject.independent)
def images_draw_for_themselves(subject: Subject) -> None:
    """Equal images in one batch come out different, unless no key changes anything about them."""
    images = np.repeat(subject.images(count=1), 12, axis=0)
    by_key = [np.asarray(subject.augment(seed=key)(images)) for key in (KEY, OTHER_KEY, (8, 3))]
    random = any(not np.array_equal(by_key[0][0], other[0]) for other in by_key[1:])
    if random and all(np.array_equal(batch, batch[:1].repeat(12, axis=0)) for batch in by_key):
        broken("all images of a batch share one draw, and other keys make another")


# --- values -----------------------------------------------------------------------------------------------------------


@register(LAWS, "dtypes are kept")
def dtypes_are_kept(subject: Subject) -> None:
    """uint8, uint16, float16, bfloat16 and float32 images come back in their dtype; whole ones as float32, rounded."""
    whole = ("uint8", "uint16") if subject.holds_bytes else ()
    exact = None
    for dtype in ("float32", *whole, "float16", "bfloat16"):
        images = subject.images("uint8" if subject.holds_bytes else "float32")
        result = subject.augment()(tf.cast(images, dtype))
        if result.dtype != dtype:
            broken(f"{dtype} becomes {result.dtype.name}")
        exact = result if exact is None else exact
        if dtype in whole:  # of the others the input is rounded already: what follows may differ by any jump
            same(result, exact, f"the results of {dtype} and of float32", 1.01, JUMPS)
        elif not np.all(np.isfinite(np.asarray(result).astype("float32"))):
            broken(f"{dtype} has values that are not finite")


@register(LAWS, "uint8 never wraps", lambda subject: subject.holds_bytes)
def uint8_never_wraps(subject: Subject) -> None:
    """Nearly black and nearly white uint8 images come out as their float32 twins do, rounded and clipped."""
    images = subject.extremes("uint8")
    result = np.asarray(subject.augment()(images)).astype("float32")
    twin = np.asarray(subject.augment()(images.astype("float32"))).astype("float32")
    same(result, np.clip(np.round(twin), 0, 255), "uint8 and rounded float32", 1.01, JUMPS)


@register(LAWS, "values stay in range")
def values_stay_in_range(subject: Subject) -> None:
    """Images full of black and white come out within the value range."""
    margin = 1e-4 * subject.span
    for images in (subject.extremes(), subject.images()):
        result = np.asarray(subject.augment()(images))
        if not (result.min() >= subject.low - margin and result.max() <= subject.high + margin):
            broken(f"values lie in [{result.min():g}, {result.max():g}]")


@register(LAWS, "flat images stay flat", lambda subject: subject.keeps_flat_images)
def flat_images_stay_flat(subject: Subject) -> None:
    """Geometry, blurring and sharpening leave an image of one value as it is; a constant fill has that value here."""
    fills = [layer.fill_value for layer in subject.primitives if getattr(layer, "fill_mode", "") == "constant"]
    value = fills[0] if fills else subject.low + 0.4 * subject.span
    images = np.full((4, 24, 28, 3), value, "float32")
    result = subject.augment()(images)
    same(result, np.full(result.shape, value, "float32"), "output and input", 1e-4 * subject.span)


@register(LAWS, "inputs are left alone")
def inputs_are_left_alone(subject: Subject) -> None:
    """The caller's arrays and dicts are the same after the call as before."""
    inputs = {"images": subject.images(), "labels": np.eye(4, dtype="float32")}
    keys, copies = list(inputs), {key: value.copy() for key, value in inputs.items()}
    subject.augment()(inputs)
    if list(inputs) != keys:
        broken(f"the dict has the keys {list(inputs)}, and had {keys}")
    for key, copy in copies.items():
        same(inputs[key], copy, f"{key} after and before")
