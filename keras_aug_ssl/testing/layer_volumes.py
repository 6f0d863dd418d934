"""Laws about volumes: scans and videos, (B, D, H, W, C)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_aug_ssl.testing.laws import Law, register, same
from keras_aug_ssl.testing.layer_values import JUMPS
from keras_aug_ssl.testing.subject import HEIGHT, KEY, WIDTH, Subject

LAWS: list[Law] = []
DEPTH = 2


def _takes_volumes(subject: Subject) -> bool:
    return subject.has_parameters and all(layer.slices in ("batch", "channels") for layer in subject.primitives)


@register(LAWS, "one draw for all slices", _takes_volumes)
def one_draw_for_all_slices(subject: Subject) -> None:
    """A volume of equal slices comes out as a volume of equal slices: what their image comes out as."""
    images = subject.images()
    volumes = subject.augment()(np.stack([images] * DEPTH, 1))
    alone = np.stack([subject.augment()(images)] * DEPTH, 1)
    same(volumes, alone, "a volume's slices and their image", 1e-3 * subject.span, JUMPS)


@register(LAWS, "a volume is its slices", _takes_volumes)
def volume_is_its_slices(subject: Subject) -> None:
    """With the same parameters, each slice of a volume comes out as it does alone."""
    volumes = _volumes(subject)
    drawn = subject.layer.sample(subject.shown(volumes), KEY)

    def applied(images: Any) -> Any:
        return subject.images_of(subject.layer.apply(subject.shown(images), drawn))

    alone = tf.stack([applied(volumes[:, place]) for place in range(DEPTH)], 1)
    same(applied(volumes), alone, "slices in a volume and alone", 1e-3 * subject.span, JUMPS)


def _takes_masks(subject: Subject) -> bool:
    return _takes_volumes(subject) and subject.takes_annotations


@register(LAWS, "masks of volumes follow", _takes_masks)
def masks_of_volumes_follow(subject: Subject) -> None:
    """With the same parameters, the mask of each slice comes out as it does alone, with and without an axis of one."""
    volumes = _volumes(subject)
    masks = np.random.default_rng(2).integers(0, 5, (4, DEPTH, HEIGHT, WIDTH, 1)).astype("uint8")
    drawn = subject.layer.sample(volumes, KEY)

    def applied(images: Any, masks: Any) -> Any:
        return subject.layer.apply({"images": images, "segmentation_masks": masks}, drawn)["segmentation_masks"]

    alone = np.stack([applied(volumes[:, place], masks[:, place]) for place in range(DEPTH)], 1)
    same(applied(volumes, masks), alone, "masks in a volume and alone")
    same(applied(volumes, masks[..., 0]), alone[..., 0], "masks without an axis of one, in a volume and alone")


def _volumes(subject: Subject) -> Any:
    """Four volumes of different pictures."""
    return subject.images(count=4 * DEPTH).reshape(4, DEPTH, HEIGHT, WIDTH, 3)
