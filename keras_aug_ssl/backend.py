"""Checks, before anything else is imported, that Keras runs here on a TensorFlow that is new enough.

TensorFlow is not a hard requirement of the package: `tensorflow` and `tensorflow-cpu` are two distributions of one
module, and requiring either would make pip install it over the other. So the extras name them, and this module says
what to do when none is there.
"""

from __future__ import annotations

import importlib.util
import os

MINIMUM_TENSORFLOW = (2, 18)


def check_backend() -> None:
    """Raises `ImportError`, saying what to install or set, unless Keras runs on TensorFlow 2.18 or newer."""
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "keras_aug_ssl: TensorFlow is not installed. Choose one: "
            'pip install "keras_aug_ssl[cpu]" (the smallest), "keras_aug_ssl[tensorflow]" or, with CUDA, '
            '"keras_aug_ssl[gpu]".'
        )
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend == "tensorflow":
        import keras

        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"keras_aug_ssl: needs Keras on TensorFlow; the backend is {backend!r}. Set the environment variable "
            'KERAS_BACKEND="tensorflow" before Keras is imported, or change "backend" in ~/.keras/keras.json.'
        )
    import tensorflow as tf

    found = tuple(int(part) for part in tf.__version__.split(".")[:2])
    wanted = ".".join(map(str, MINIMUM_TENSORFLOW))
    if found < MINIMUM_TENSORFLOW:
        raise ImportError(
            f"keras_aug_ssl: needs TensorFlow {wanted} or newer; found {tf.__version__}. "
            "Upgrade the distribution you have: pip install --upgrade tensorflow (or tensorflow-cpu)."
        )


check_backend()
