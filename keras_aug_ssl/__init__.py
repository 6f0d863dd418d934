"""Augmentation, semi-supervised learning and adversarial learning for Keras 3 on TensorFlow, on one engine."""

# First, since its errors say what to install when the imports below can't work.
from keras_aug_ssl import backend as backend

# isort: split
from keras_aug_ssl import data as data
from keras_aug_ssl import layers as layers
from keras_aug_ssl.layers.pipeline import Pipeline as Pipeline

__version__ = "0.1.0"
