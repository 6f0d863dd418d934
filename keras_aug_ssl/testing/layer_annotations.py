"""Laws about what comes with an image: structures, labels, masks, boxes and keypoints."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_aug_ssl.kernels.boxes import FORMATS
from keras_aug_ssl.testing.laws import Law, broken, register, same
from keras_aug_ssl.testing.subject import HEIGHT, KEY, WIDTH, Subject

LAWS: list[Law] = []
TOP, LEFT, BOTTOM, RIGHT = 8, 9, 15, 18  # a bright rectangle in the middle of a dark image
CORNERS = (LEFT, TOP, RIGHT, BOTTOM)
DARK, BRIGHT = 0.3, 0.7
PIXELS = 1.5  # a box may miss the bright pixels by this much: tips of turned corners are less than half bright


@register(LAWS, "structures are kept")
def structures_are_kept(subject: Subject) -> None:
    """An image, (x, y), (x, y, w), a list and a dict come back as such, with the same images in them."""
    images, labels, weights = subject.images(), np.eye(4, dtype="float32"), np.ones(4, "float32")
    alone = subject.augment()(images) if subject.independent else None
    dictionary = {"sample_weight": weights, "labels": labels, "images": images}
    for inputs in ((images, labels), (images, labels, weights), [images, labels], dictionary):
        outputs = subject.augment()(inputs)
        if type(outputs) is not type(inputs) or len(outputs) != len(inputs):
            broken(f"a {type(inputs).__name__} of {len(inputs)} becomes a {type(outputs).__name__} of {len(outputs)}")
        if isinstance(inputs, dict) and set(outputs) != set(inputs):
            broken(f"a dict of {sorted(inputs)} becomes one of {sorted(outputs)}")
        if alone is not None:
            found = outputs["images"] if isinstance(outputs, dict) else outputs[0]
            same(found, alone, f"the images alone and in a {type(inputs).__name__}", 1e-4 * subject.span, 0.01)


@register(LAWS, "several targets are treated alike", lambda subject: subject.has_parameters)
def several_targets_are_treated_alike(subject: Subject) -> None:
    """Targets in a dict or tuple, as of a model of several outputs, come back in it, each as it would come alone."""
    images, hard = subject.images(), np.eye(4, dtype="float32")[[0, 1, 0, 1]]
    soft = np.linspace(0.0, 1.0, 16, dtype="float32").reshape(4, 4)
    structures: list[Any] = [{"a": hard, "b": soft}, (hard, soft)]
    for labels in structures:
        try:
            drawn = subject.layer.sample((images, labels), KEY)
        except ValueError:  # it says that it takes one target only
            return
        outputs = subject.layer.apply((images, labels), drawn)[1]
        if type(outputs) is not type(labels) or len(outputs) != len(labels):
            broken(f"a {type(labels).__name__} of targets becomes a {type(outputs).__name__}")
        for name in labels if isinstance(labels, dict) else (0, 1):
            alone = subject.layer.apply((images, labels[name]), drawn)[1]
            same(outputs[name], alone, f"target {name!r} among others and alone")


@register(LAWS, "box labels can say that a box has left", lambda subject: subject.takes_annotations)
def box_labels_hold_minus_one(subject: Subject) -> None:
    """Labels of boxes come out as they went in, or as -1, whatever their dtype is: none becomes another class."""
    layer = subject.plain(bounding_box_format="xyxy")
    for dtype in ("uint8", "uint16", "uint32", "int64", "float16"):
        boxes = {"boxes": np.array([[CORNERS, (0, 0, 1, 1)]] * 4, "float32"), "labels": np.full((4, 2), 5, dtype)}
        labels = np.asarray(subject.augment(layer)(painted(subject, bounding_boxes=boxes))["bounding_boxes"]["labels"])
        if labels.dtype.kind == "u" or not np.isin(labels.astype("float64"), (5.0, -1.0)).all():
            broken(f"{dtype} labels 5 come out as {labels.dtype} {np.unique(labels).tolist()}, which can't be -1")


@register(LAWS, "labels and masks keep their dtype", lambda subject: subject.takes_annotations)
def labels_and_masks_keep_their_dtype(subject: Subject) -> None:
    """Labels of many classes and masks of many ids survive, also under the policy `mixed_float16`."""
    policy = keras.config.dtype_policy()
    labels = np.array([40001, 2**40 + 1, 0, -1])
    masks = np.full((4, HEIGHT, WIDTH, 1), 40001, "int32")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = {"images": subject.images(), "labels": labels, "segmentation_masks": masks}
        outputs = subject.augment(subject.plain())(inputs)
    finally:
        keras.config.set_dtype_policy(policy)
    if outputs["labels"].dtype != "int64" or outputs["segmentation_masks"].dtype != "int32":
        kinds = {key: outputs[key].dtype.name for key in ("labels", "segmentation_masks")}
        broken(f"int64 labels and int32 masks become {kinds}")
    same(outputs["labels"], labels, "labels after and before")
    ids = set(np.unique(outputs["segmentation_masks"]))
    if not ids <= {0, 40001}:
        broken(f"a mask of id 40001 (and 0 for what lies outside) has the ids {sorted(ids)}")


# --- what moves with the pixels ---------------------------------------------------------------------------------------


def painted(subject: Subject, **annotations: Any) -> dict[str, Any]:
    """Four dark images with a bright rectangle, and annotations."""
    values = np.full((4, HEIGHT, WIDTH, 3), DARK)
    values[:, TOP:BOTTOM, LEFT:RIGHT] = BRIGHT
    return {"images": subject.scaled(values), **annotations}


def bright(subject: Subject, images: Any) -> np.ndarray:
    """(B, H, W) booleans: the pixels nearer to the rectangle's value than to the background's."""
    return np.asarray(images)[..., 0] > subject.low + 0.5 * (DARK + BRIGHT) * subject.span


@register(LAWS, "masks follow the pixels", lambda subject: subject.moves_pixels or subject.leaves_pixels)
def masks_follow_the_pixels(subject: Subject) -> None:
    """Where pixels move, the mask of a painted shape is where the shape is; where they don't, masks stay."""
    masks = np.zeros((4, HEIGHT, WIDTH, 1), "uint8")
    masks[:, TOP:BOTTOM, LEFT:RIGHT] = 1
    outputs = subject.augment()(painted(subject, segmentation_masks=masks))
    moved = np.asarray(outputs["segmentation_masks"])
    if subject.leaves_pixels:
        same(moved, masks, "masks after and before")
        return
    seen = bright(subject, outputs["images"])
    if moved[..., 0].shape != seen.shape:
        broken(f"masks have the shape {moved.shape}, images {outputs['images'].shape}")
    for number, (mask, shape) in enumerate(zip(moved[..., 0] == 1, seen, strict=True)):
        overlap = np.sum(mask & shape) / max(1, np.sum(mask | shape))
        if shape.any() and overlap < 0.85:
            broken(f"mask and shape of image {number} overlap by {overlap:.0%}")


@register(LAWS, "boxes follow the pixels", lambda subject: subject.moves_pixels or subject.leaves_pixels)
def boxes_follow_the_pixels(subject: Subject) -> None:
    """Where pixels move, the box of a painted rectangle is around it; where they don't, boxes stay."""
    layer = subject.plain(bounding_box_format="xyxy")
    boxes = {"boxes": np.array([[CORNERS]] * 4, "float32"), "labels": np.full((4, 1), 5)}
    outputs = subject.augment(layer)(painted(subject, bounding_boxes=boxes))
    found = {key: np.asarray(value) for key, value in outputs["bounding_boxes"].items()}
    if subject.leaves_pixels:
        same(found["boxes"], boxes["boxes"], "boxes after and before", 1e-4)
    for number, shape in enumerate(bright(subject, outputs["images"])):
        if not shape.any():
            continue
        rows, columns = np.nonzero(shape)
        around = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        if subject.moves_pixels and np.abs(found["boxes"][number, 0] - around).max() > PIXELS:
            broken(f"image {number} shows the rectangle in {around} and its box is {found['boxes'][number, 0]}")
        if found["labels"][number, 0] != 5:
            broken(f"the box of image {number}, still to be seen, has lost its label")


@register(LAWS, "boxes agree in every format", lambda subject: subject.takes_annotations)
def boxes_agree_in_every_format(subject: Subject) -> None:
    """The same boxes in another of Keras's formats come out as the same boxes."""
    corners, labels = np.array([[CORNERS, (2, 3, 9, 7)]] * 4, "float32"), np.full((4, 2), 5)
    convert = keras.utils.bounding_boxes.convert_format
    reference = None
    for box_format in ("xyxy", *FORMATS):
        written = convert(corners, "xyxy", box_format, height=HEIGHT, width=WIDTH)
        if not np.allclose(convert(written, box_format, "xyxy", height=HEIGHT, width=WIDTH), corners, atol=1e-3):
            continue  # Keras 3.8 reads rel_center_xywh otherwise than it writes it
        layer = subject.plain(bounding_box_format=box_format)
        outputs = subject.augment(layer)(painted(subject, bounding_boxes={"boxes": written, "labels": labels}))
        height, width = outputs["images"].shape[1:3]
        boxes = outputs["bounding_boxes"]
        found = convert(boxes["boxes"], box_format, "xyxy", height=height, width=width)
        found = np.where(np.asarray(boxes["labels"])[..., None] >= 0, found, 0.0)
        reference = found if reference is None else reference
        same(found, reference, f"boxes written as {box_format} and as xyxy", 1e-2)


@register(LAWS, "keypoints follow the pixels", lambda subject: subject.moves_pixels or subject.leaves_pixels)
def keypoints_follow_the_pixels(subject: Subject) -> None:
    """Where pixels move, the keypoint on a painted dot is on it; where they don't, keypoints stay."""
    dot = (13, 12)
    values = np.full((4, HEIGHT, WIDTH, 3), 0.0)
    values[:, dot[1] - 1 : dot[1] + 2, dot[0] - 1 : dot[0] + 2] = 1.0
    points = np.array([[dot]] * 4, "float32")
    outputs = subject.augment()({"images": subject.scaled(values), "keypoints": points})
    found = np.asarray(outputs["keypoints"])
    if subject.leaves_pixels:
        same(found, points, "keypoints after and before")
        return
    light = (np.asarray(outputs["images"])[..., 0] - subject.low) / subject.span
    y, x = np.mgrid[: light.shape[1], : light.shape[2]]
    for number, (image, (at,)) in enumerate(zip(light, found, strict=True)):
        inside = 2 <= at[0] < image.shape[1] - 2 and 2 <= at[1] < image.shape[0] - 2
        near = image * (np.maximum(abs(x - at[0]), abs(y - at[1])) < 5)
        centre = np.array([(near * x).sum(), (near * y).sum()]) / max(near.sum(), 1e-6)
        if inside and np.abs(centre - at).max() > 0.75:
            broken(f"the dot of image {number} is at {centre.round(2)}, its keypoint at {at.round(2)}")
