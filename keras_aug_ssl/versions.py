"""What runs here: versions and devices, for a report of a problem."""

from __future__ import annotations

import importlib.metadata
import platform
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import tensorflow as tf

import keras_aug_ssl


def report_versions() -> str:
    """Prints what this library runs on: paste it into an issue.

    Returns:
        The text: versions of Python, Keras and its backend, TensorFlow and its distribution, NumPy and TensorFlow
        Datasets, the GPUs and the system, one a line.

    Example:
        >>> text = kas.report_versions()
        keras_aug_ssl: ...
        >>> [line.partition(":")[0] for line in text.splitlines()][:4]
        ['keras_aug_ssl', 'Python', 'Keras', 'TensorFlow']
    """
    distributions = [name for name in ("tensorflow", "tensorflow-cpu") if _version(name)]
    found = {
        "keras_aug_ssl": keras_aug_ssl.__version__,
        "Python": platform.python_version(),
        "Keras": f"{keras.__version__} on {keras.backend.backend()}",
        "TensorFlow": f"{tf.__version__} ({', '.join(distributions) or 'not from a package index'})",
        "NumPy": np.__version__,
        "TensorFlow Datasets": _version("tensorflow-datasets") or "not installed",
        "GPU": ", ".join(_gpus()) or "none",
        "system": platform.platform(),
    }
    text = "\n".join(f"{name}: {value}" for name, value in found.items())
    print(text)
    return text


def _gpus() -> list[str]:
    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except PackageNotFoundError:
        return None
