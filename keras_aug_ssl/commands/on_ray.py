"""The work of `pseudo-label --engine ray`: images in the size of the model, and the rule that the options stand for."""

from __future__ import annotations

import argparse
import functools

import tensorflow as tf

from keras_aug_ssl import rules, scale
from keras_aug_ssl.commands import options
from keras_aug_ssl.commands.inputs import image_files, image_shape, read_model
from keras_aug_ssl.commands.messages import bad_input, shown
from keras_aug_ssl.data.parquet import parquet_files


def label(arguments: argparse.Namespace) -> int:
    """Labels what the arguments of the command name; returns the exit code."""
    out = arguments.out
    try:
        with bad_input():
            rule: rules.Rule = rules.Threshold(arguments.threshold)
            if arguments.per_class is not None:
                rule = rule & rules.TopK(arguments.per_class)
            engine = scale.Ray(arguments.workers)
            result = scale.pseudo_label(arguments.model, _shards(arguments), out, rule, engine=engine)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on; {shown(out)} was not written") from None
    summary = {"labeled": result.selected, "examples": result.rows, "rule": repr(rule), "out": shown(out)}
    text = f"{result.selected} of {result.rows} examples labeled in {shown(out)}"
    options.print_result(summary, text, as_json=arguments.json)
    return 0


def _shards(arguments: argparse.Namespace) -> scale.Shards:
    rows = parquet_files(arguments.data) or arguments.data.endswith(".npy")
    if rows and arguments.unit:
        raise ValueError("--unit with --engine ray is for folders of images; divide the array by 255, or in the model")
    if parquet_files(arguments.data):
        return scale.Shards(arguments.data, id=arguments.id)
    if arguments.data.endswith(".npy"):
        return scale.Shards(arguments.data, id=arguments.id)
    model = read_model(arguments.model)
    height, width, channels = image_shape(model, "a .npy array or a .parquet file of its inputs")
    decode = functools.partial(
        _image, size=(height, width), channels=channels, divisor=255.0 if arguments.unit else 1.0
    )
    return scale.Shards(image_files([arguments.data]), decode)


def _image(content: tf.Tensor, size: tuple[int, int], channels: int, divisor: float) -> tf.Tensor:
    """An image file's content in the size, the colors and the scale of the model."""
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image = image if channels == 3 else tf.image.rgb_to_grayscale(image)
    return tf.ensure_shape(tf.image.resize(image, size, antialias=True), [*size, channels]) / divisor
