"""One image of a batch with all that belongs to it, and how that is drawn over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.kernels import boxes as box_kernels
from keras_aug_ssl.plots.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

COLORS = BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE
"""Of the classes of masks and boxes, in turn."""


class Sample(NamedTuple):
    """An image with what belongs to it.

    Attributes:
        image: (H, W, C) or (H, W).
        label: shown under it; empty for none.
        mask: (H, W) class numbers, 0 being the ground that isn't drawn, or None.
        corners: (N, 4) boxes as (left, top, right, bottom) edges in pixels.
        classes: (N,) their class numbers.
        names: (N,) what is written at them.
        points: (K, 2) keypoints, x and y of pixel centers.
    """

    image: Any
    label: str = ""
    mask: Any = None
    corners: Any = ()
    classes: Any = ()
    names: Sequence[str] = ()
    points: Any = ()


def samples(
    batch: Any, *, class_names: Sequence[str] = (), bounding_box_format: str = "xyxy", count: int | None = None
) -> list[Sample]:
    """Takes a batch apart into images with their labels, masks, boxes and keypoints, to be drawn by `image_grid`.

    Args:
        batch: images (B, H, W, C); `(images, labels)` or `(images, labels, sample_weight)`; or a dict with Keras's keys
            and `keypoints`, as augmentation layers take and give it.
        class_names: what a reader knows the classes by; else their numbers.
        bounding_box_format: how boxes are written, one of Keras's formats. Boxes of label -1 are padding.
        count: the first so many; None for all.

    Returns:
        A list of `Sample`. The label of an image is its class, the shares of the classes it mixes, or a number.

    Example:
        >>> batch = {"images": np.zeros((2, 8, 8, 3)), "labels": np.array([[1.0, 0.0], [0.3, 0.7]])}
        >>> [sample.label for sample in samples(batch, class_names=["cat", "dog"])]
        ['cat', 'dog 70%, cat 30%']
    """
    checks.one_of("plots.samples", "bounding_box_format", bounding_box_format, box_kernels.FORMATS)
    if isinstance(batch, (tuple, list)):
        batch = dict(zip(("images", "labels"), batch, strict=False))
    elif not isinstance(batch, Mapping):
        batch = {"images": batch}
    images = np.asarray(batch["images"])[:count]
    return [
        Sample(
            image,
            label=_label(batch["labels"][row], class_names) if batch.get("labels") is not None else "",
            mask=_mask(batch, row),
            points=np.asarray(batch["keypoints"][row])[:, :2] if batch.get("keypoints") is not None else (),
            **_boxes(
                batch.get("bounding_boxes"), row, bounding_box_format, (image.shape[0], image.shape[1]), class_names
            ),
        )
        for row, image in enumerate(images)
    ]


def class_name(number: Any, class_names: Sequence[str]) -> str:
    """What a reader knows a class by."""
    return str(class_names[int(number)]) if len(class_names) else f"{int(number)}"


def overlay(axes: Any, sample: Sample) -> None:
    """Draws what belongs to an image over it, where its pixels' centers are at whole numbers."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    if sample.mask is not None:
        hidden = np.ma.masked_equal(sample.mask, 0)
        colors = ListedColormap(COLORS)
        axes.imshow((hidden - 1) % len(COLORS), cmap=colors, vmin=0, vmax=len(COLORS) - 1, alpha=0.5)
    for (left, top, right, bottom), number, name in zip(sample.corners, sample.classes, sample.names, strict=True):
        color = COLORS[int(number) % len(COLORS)]
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=color, lw=1.5))
        axes.text(left, top, name, color="white", fontsize=6, va="top", bbox={"color": color, "pad": 1, "lw": 0})
    if len(sample.points):
        x, y = np.transpose(sample.points)
        axes.plot(x, y, "o", color=VERMILION, markersize=3, markeredgecolor="white", markeredgewidth=0.5)


def _label(label: Any, class_names: Sequence[str]) -> str:
    label = np.asarray(label)
    if label.ndim == 0 or label.shape == (1,):
        whole = label.dtype.kind in "iub" or len(class_names)
        return class_name(label.reshape(()), class_names) if whole else f"{float(label.reshape(())):.3g}"
    if label.ndim > 1:
        return ""
    order = [number for number in np.argsort(-label, kind="stable") if label[number] >= 0.005]
    if len(order) == 1:
        return class_name(order[0], class_names)
    return ", ".join(f"{class_name(number, class_names)} {label[number]:.0%}" for number in order[:3])


def _mask(batch: Mapping[str, Any], row: int) -> Any:
    masks = batch.get("segmentation_masks")
    if masks is None:
        return None
    mask = np.asarray(masks[row])
    if mask.ndim == 3:
        mask = mask[..., 0] if mask.shape[-1] == 1 else mask.argmax(axis=-1)
    return mask.round().astype(int)


def _boxes(
    boxes: Any, row: int, source: str, size: tuple[Any, Any], class_names: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    if boxes is None:
        return {}
    corners = np.asarray(box_kernels.to_corners(np.asarray(boxes["boxes"][row], np.float32), source, size))
    labels = np.asarray(boxes["labels"][row])
    there = labels >= 0
    names = [class_name(number, class_names) for number in labels[there]]
    return {"corners": corners[there], "classes": labels[there], "names": names}
