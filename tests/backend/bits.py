"""What every public layer makes of the same pictures, in hashes: printed as JSON, to be compared between backends."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl.testing.subject import KEY, Subject
from tests.layers.cases import LAYER_CASES


def digest(arrays: Any) -> str:
    """Of the bits of all arrays, in order."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def ways(case: Any) -> dict[str, str]:
    """The hash of the images by each way to augment them."""
    subject, name = Subject(case.make), case.name
    shown = subject.shown(subject.images())
    batches = tf.data.Dataset.from_tensors(shown).repeat(2)
    seeded = subject.plain(seed=5)
    pipeline = case.make() if case.cls is kas.Pipeline else kas.Pipeline([seeded], jit_compile=False)
    eager = subject.images_of(subject.layer(shown, training=True, seed=KEY))
    found = {
        "eager": [keras.ops.convert_to_numpy(eager)],
        "dataset.map(layer)": [subject.images_of(each).numpy() for each in batches.map(seeded)],
        "Pipeline.map of batches": [subject.images_of(each).numpy() for each in pipeline.map(batches, seed=7)],
    }
    if pipeline.independent:
        singles = pipeline.map(batches.unbatch(), seed=7)
        found["Pipeline.map of single images"] = [subject.images_of(each).numpy() for each in singles]
    return {f"{name}, {way}": digest(arrays) for way, arrays in found.items()}


def stock() -> dict[str, str]:
    """The hash of what stock layers become: one that is translated, and one that stays."""
    pipeline = kas.Pipeline.from_keras([keras.layers.RandomRotation(0.1, seed=3), keras.layers.Rescaling(1 / 255)])
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype("uint8")
    batches = tf.data.Dataset.from_tensor_slices(images).batch(2)
    return {"from_keras": digest(each.numpy() for each in pipeline.map(batches, seed=7))}


def hashes() -> dict[str, str]:
    """All of them."""
    found = stock()
    for case in LAYER_CASES:
        if not case.is_variant:
            found |= ways(case)
    return found


if __name__ == "__main__":
    print(json.dumps(hashes()))
