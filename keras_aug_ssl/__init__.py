"""Augmentation, semi-supervised learning and adversarial learning for Keras 3 on TensorFlow, on one engine."""

from keras_aug_ssl import backend as backend  # isort: split  (first: its errors say what to install)

from keras_aug_ssl import data as data

__version__ = "0.1.0"
