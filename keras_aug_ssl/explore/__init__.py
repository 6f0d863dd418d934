"""Looking before training: augmentations by slider, attacks by epsilon, pseudo-labels by doubt.

What is seen is computed by functions that know no page (`stacks`, `draws_seen`, `attacks_seen`, `doubts`); `app` puts
them on one, with Gradio.
"""

from keras_aug_ssl.explore.app import build as build
from keras_aug_ssl.explore.app import launch as launch
