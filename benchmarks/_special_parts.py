"""Special laws about labels, masks and boxes: facts about single layers that the general laws don't ask for.

Each takes `make`, `keras.layers` or `keras_aug_ssl.layers`, and returns whether the law is kept and a figure. Its
docstring is the law.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl.testing.laws import op_by_op

FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")


def pictures(count=4, side=32):
    return np.random.default_rng(0).uniform(0.0, 255.0, (count, side, side, 3)).astype("float32")


def augmented(layer, **inputs):
    """What a layer makes of a dict of arrays, as arrays; operation by operation, since tracing takes longer."""
    with op_by_op():
        outputs = layer(tf.nest.map_structure(tf.convert_to_tensor, inputs), training=True)
    return tf.nest.map_structure(np.asarray, outputs)


def mixed_masks(make):
    """MixUp and CutMix leave masks in their shape."""
    inputs = {"images": pictures(), "labels": np.eye(4, dtype="float32")}
    inputs["segmentation_masks"] = np.zeros((4, 32, 32, 1), "float32")
    shapes = [augmented(layer, **inputs)["segmentation_masks"].shape for layer in (make.MixUp(), make.CutMix())]
    return shapes == [(4, 32, 32, 1)] * 2, f"(4, 32, 32, 1) becomes {shapes[0]} by MixUp and {shapes[1]} by CutMix"


def mixed_numbers(make):
    """MixUp and CutMix leave one target for an example, as in regression, one."""
    inputs = {"images": pictures(), "labels": np.arange(4, dtype="float32")}
    shapes = [augmented(layer, **inputs)["labels"].shape for layer in (make.MixUp(), make.CutMix())]
    return shapes == [(4,)] * 2, f"(4,) becomes {shapes[0]} by MixUp and {shapes[1]} by CutMix"


def mixed_boxes(make):
    """MixUp keeps a label beside each box."""
    boxes = {"boxes": np.ones((4, 2, 4), "float32"), "labels": np.ones((4, 2), "float32")}
    inputs = {"images": pictures(), "labels": np.eye(4, dtype="float32"), "bounding_boxes": boxes}
    found = augmented(make.MixUp(bounding_box_format="xyxy"), **inputs)["bounding_boxes"]
    return found["boxes"].shape[:2] == found["labels"].shape, "boxes {}, labels {}".format(
        *(found[key].shape for key in ("boxes", "labels"))
    )


def other_inputs(make):
    """MixUp mixes an input beside the images as it mixes them, or refuses it."""
    inputs = {"images": pictures(), "labels": np.eye(4, dtype="float32"), "tabular": np.eye(4, dtype="float32")}
    try:
        outputs = augmented(make.MixUp(seed=1), **inputs)
    except ValueError:
        return True, "a key it doesn't know is an error"
    mixed = not np.array_equal(outputs["tabular"], inputs["tabular"])
    labels = np.abs(outputs["labels"] - inputs["labels"]).max()
    return mixed, f"labels change by {labels:.2f}, `tabular` " + ("too" if mixed else "not at all")


def counted_pixels(make):
    """The weight of a label after CutMix is the share of pixels of its image."""
    images = np.zeros((16, 32, 32, 1), "float32") + np.arange(16.0, dtype="float32")[:, None, None, None]
    layer, off = make.CutMix(seed=1), []
    for _ in range(8):
        outputs = augmented(layer, images=images, labels=np.eye(16, dtype="float32"))
        shares = (outputs["images"] == images).mean((1, 2, 3))
        off.append(np.abs(np.diagonal(outputs["labels"]) - shares))
    return bool(np.max(off) < 1e-5), f"off by {np.mean(off):.3f} in the mean, {np.max(off):.3f} at most"


def elastic_mask(make):
    """RandomElasticTransform bends a mask as it bends its image."""
    y, x = np.mgrid[:64, :64] // 8
    masks = np.repeat(((x + y) % 2)[None, :, :, None], 8, 0).astype("float32")
    layer = make.RandomElasticTransform(scale=(0.3, 0.3), interpolation="nearest", seed=1)
    outputs = augmented(layer, images=255.0 * np.repeat(masks, 3, -1), segmentation_masks=masks)
    agreement = np.mean((outputs["images"][..., :1] > 127) == (outputs["segmentation_masks"] > 0.5))
    return bool(agreement > 0.98), f"image and mask agree in {agreement:.1%} of the pixels"


def erased_mask(make):
    """RandomErasing takes from the mask what it takes from the image."""
    layer = make.RandomErasing(scale=(0.1, 0.3), fill_value=0.0, seed=1)
    inputs = {"images": np.full((8, 32, 32, 3), 100.0, "float32"), "segmentation_masks": np.ones((8, 32, 32, 1))}
    outputs = augmented(layer, **inputs)
    left = np.mean(outputs["segmentation_masks"][outputs["images"][..., :1] == 0.0] == 1)
    return bool(left == 0), f"{left:.0%} of the erased pixels keep their class"


def neutral_boxes(make):
    """RandomRotation and RandomPerspective that do nothing leave boxes as they are, in every format."""
    corners, worst = np.array([[[4.0, 6.0, 20.0, 15.0]]], "float32"), {}
    for name, arguments in {"RandomRotation": {"factor": 0.0}, "RandomPerspective": {"scale": 0.0}}.items():
        moves = []
        for box_format in FORMATS:
            convert = keras.utils.bounding_boxes.convert_format
            boxes = np.asarray(convert(corners, "xyxy", box_format, height=24, width=32))
            layer = getattr(make, name)(**arguments, bounding_box_format=box_format)
            inputs = {"boxes": boxes, "labels": np.ones((1, 1), "float32")}
            found = augmented(layer, images=np.zeros((1, 24, 32, 3), "float32"), bounding_boxes=inputs)
            found = convert(found["bounding_boxes"]["boxes"], box_format, "xyxy", height=24, width=32)
            moves.append(float(np.abs(np.asarray(found) - corners).max()))
        worst[name] = (sum(move > 0.01 for move in moves), max(moves))
    figure = "; ".join(
        f"{name} moves them in {many} of 8 formats, by up to {far:.1f} px" for name, (many, far) in worst.items()
    )
    return not any(many for many, _ in worst.values()), figure


def policy_boxes(make):
    """The boxes of RandAugment are around the objects of its masks."""
    side = 64
    masks = np.zeros((4, side, side, 1), "float32")
    masks[:, 24:36, 26:44] = 1.0
    boxes = {"boxes": np.array([[[26.0, 24.0, 44.0, 36.0]]] * 4, "float32"), "labels": np.ones((4, 1), "float32")}
    wrong = seen = 0
    for seed in range(20):
        layer = make.RandAugment(num_ops=3, factor=0.5, seed=seed, bounding_box_format="xyxy")
        outputs = augmented(layer, images=pictures(4, side), segmentation_masks=masks, bounding_boxes=boxes)
        found = outputs["segmentation_masks"][..., 0], outputs["bounding_boxes"]["boxes"][:, 0]
        for mask, box in zip(*found, strict=True):
            rows, columns = np.nonzero(mask)
            if not len(rows) or min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == side - 1:
                continue  # it has left in part, or a reflection of it has come
            around = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            seen, wrong = seen + 1, wrong + bool(np.abs(box - around).max() > 3.0)
    return not wrong, f"{wrong} of {seen} boxes are more than 3 px off"


LAWS = (
    mixed_masks,
    mixed_numbers,
    mixed_boxes,
    other_inputs,
    counted_pixels,
    elastic_mask,
    erased_mask,
    neutral_boxes,
    policy_boxes,
)
