"""Augmentation, semi-supervised learning and adversarial learning for Keras 3, on one engine."""

from keras_aug_ssl.commands import starting as _starting

__version__ = "0.1.0"

# All at once, since loading a saved model needs its classes known. The command line does it when it has work to do:
# its help and its errors need no TensorFlow.
if not _starting.is_command_line():
    from keras_aug_ssl.public import *  # noqa: F403
