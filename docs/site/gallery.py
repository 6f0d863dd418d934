"""The gallery: every public layer with the code that made its picture, drawn while the site is built."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_aug_ssl as kas

SIZE, SHOWN, GAP = 112, 5, 6  # pixels of an image's edge, draws a layer, pixels between them
INTRODUCTION = """# Gallery

Every layer, with the call that made its row: first the image as it is, then five draws. The pictures are made from this
code each time the site is built. Strengths are high here, so that they are seen.
"""
# As they are shown: a call for each layer.
CALLS = {
    "Geometry": """
        kas.layers.RandomFlip("horizontal_and_vertical")
        kas.layers.RandomTranslation(0.3, 0.3, fill_mode="constant")
        kas.layers.RandomRotation(0.2, fill_mode="constant")
        kas.layers.RandomZoom((-0.5, 0.3), fill_mode="constant")
        kas.layers.RandomShear(0.4, 0.4, fill_mode="constant")
        kas.layers.RandomAffine(0.1, 0.1, zoom_factor=0.3, shear_factor=0.2, fill_mode="constant")
        kas.layers.RandomPerspective(scale=0.8)
        kas.layers.RandomElasticTransform(alpha=60.0, sigma=6.0)
        kas.layers.RandomThinPlateSpline(0.12)
        kas.layers.RandomCrop(72, 72)
        kas.layers.RandomResizedCrop(112, 112, area_factor=(0.1, 0.6))""",
    "Color": """
        kas.layers.RandomBrightness(0.5)
        kas.layers.RandomContrast(0.8)
        kas.layers.RandomSaturation(1.0)
        kas.layers.RandomHue(1.0)
        kas.layers.RandomColorJitter(brightness_factor=0.3, contrast_factor=0.5, saturation_factor=0.8, hue_factor=0.3)
        kas.layers.RandomGrayscale(0.6)
        kas.layers.RandomInvert(0.6)""",
    "Tone": """
        kas.layers.AutoContrast()
        kas.layers.Equalization()
        kas.layers.RandomGamma((0.3, 3.0))
        kas.layers.RandomPosterization((1, 4))
        kas.layers.Solarization(0.4, 0.8)""",
    "Filters, noise and holes": """
        kas.layers.RandomGaussianBlur(factor=1.0, kernel_size=11, sigma=(0.5, 4.0))
        kas.layers.RandomSharpness(1.0)
        kas.layers.RandomNoise(0.25)
        kas.layers.RandomErasing(1.0, fill_value=128.0)""",
    "Mixing": """
        kas.layers.MixUp(1.0, num_classes=3)
        kas.layers.CutMix(num_classes=3)
        kas.layers.SameClassMix()
        kas.layers.SimilarTargetMix()
        kas.layers.BalancedMixUp(num_classes=3)
        kas.layers.Remix(class_counts=[3, 2, 1])""",
    "Policies and several layers": """
        kas.layers.RandAugment(factor=0.8)
        kas.layers.TrivialAugment()
        kas.layers.AugMix()
        kas.layers.RandomApply([kas.layers.RandomInvert(1.0), kas.layers.RandomRotation(0.2)], rate=0.5)
        kas.layers.RandomChoice([kas.layers.RandomGrayscale(1.0), kas.layers.RandomTranslation(0.3, 0.3)])
        kas.layers.Pipeline([kas.layers.RandomFlip(), kas.layers.RandomRotation(0.1), kas.layers.RandomHue(0.5)])""",
}


def calls(section: str) -> list[str]:
    """The calls of one section."""
    return [line.strip() for line in CALLS[section].splitlines() if line.strip()]


def layer_of(call: str) -> Any:
    """The layer that a call makes; not compiled, since each is called once."""
    layer = eval(call, {"kas": kas})
    layer.jit_compile = False
    return layer


def photographs() -> np.ndarray:
    """Six uint8 photographs (6, SIZE, SIZE, 3), parts of the two that scikit-learn has; neighbors alike in class."""
    from sklearn.datasets import load_sample_image

    flower, temple = load_sample_image("flower.jpg"), load_sample_image("china.jpg")
    parts = [
        (flower, 60, 160),
        (temple, 20, 120),
        (temple, 80, 330),
        (flower, 0, 40),
        (flower, 120, 230),
        (temple, 60, 10),
    ]
    cut = np.stack([image[top : top + 300, left : left + 300] for image, top, left in parts])
    return tf.cast(tf.image.resize(cut, (SIZE, SIZE), antialias=True), tf.uint8).numpy()


def row_of(call: str, images: np.ndarray) -> np.ndarray:
    """The picture of a layer (H, W, 3) uint8: an image as it is, and draws of it; of a mix the first images."""
    keras.utils.set_random_seed(3)
    layer, classes = layer_of(call), tf.constant([0, 1, 1, 0, 0, 1])
    if isinstance(layer, kas.layers.MixingLayer):
        by_number = isinstance(layer, kas.layers.SimilarTargetMix)
        drawn = layer((images, tf.cast(classes, "float32")[:, None] if by_number else classes), training=True, seed=11)[
            0
        ]
    else:
        drawn = layer(np.repeat(images[:1], SHOWN, axis=0), training=True, seed=11)
    return side_by_side([images[0], *np.asarray(drawn)[:SHOWN]])


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """Images in a row, smaller ones in the middle of their place, on white."""
    row = np.full((SIZE, len(images) * (SIZE + GAP) - GAP, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = (SIZE - image.shape[0]) // 2, (SIZE - image.shape[1]) // 2 + place * (SIZE + GAP)
        row[top : top + image.shape[0], left : left + image.shape[1]] = image
    return row


def write(folder: Path) -> None:
    """Writes the page and its pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    images, text = photographs(), [INTRODUCTION]
    for section in CALLS:
        text.append(f"## {section}\n")
        for call in calls(section):
            name = call.partition("(")[0].rpartition(".")[2]
            (folder / f"{name}.png").write_bytes(tf.io.encode_png(row_of(call, images)).numpy())
            summary = inspect.getdoc(getattr(kas.layers, name)).partition("\n\n")[0].replace("\n", " ")
            text.append(f"### `{name}`\n\n{summary} See `kas.layers.{name}`.\n")
            text.append(f"```python\n{call}\n```\n\n![An image as it is and five draws of {name}]({name}.png)\n")
    (folder / "index.md").write_text("\n".join(text), encoding="utf-8")
