"""Albumentations, its successor and torchvision in a plain loop over images, each in whatever environment has it.

    PYTHON benchmarks/_loops.py LIBRARY LAYER ... [--sides 224 32] [--runs 5] [--seconds 0.5]

prints, as JSON, processor milliseconds an image by layer and side. PYTHON needs neither Keras nor TensorFlow. The
successor is imported by its predecessor's name, with other arguments; its elastic transform moves a grid of 7 x 7
points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

REFLECT = {"border_mode": 2, "p": 1.0}  # cv2.BORDER_REFLECT
ALBUMENTATIONS = {
    "RandomFlip": lambda A, side: A.HorizontalFlip(p=0.5),
    "RandomRotation": lambda A, side: A.Rotate(limit=(-36, 36), **REFLECT),
    "RandomTranslation": lambda A, side: A.Affine(translate_percent=(-0.1, 0.1), **REFLECT),
    "RandomAffine": lambda A, side: A.Affine((0.9, 1.1), (-0.1, 0.1), shear=(-5.7, 5.7), **REFLECT),
    "RandomPerspective": lambda A, side: A.Perspective(p=1.0),
    "RandomElasticTransform": lambda A, side: A.ElasticTransform(alpha=34, sigma=4, p=1.0),
    "RandomCrop": lambda A, side: A.RandomCrop(side * 7 // 8, side * 7 // 8),
    "RandomResizedCrop": lambda A, side: A.RandomResizedCrop((side * 7 // 8, side * 7 // 8), p=1.0),
    "RandomBrightness": lambda A, side: A.RandomBrightnessContrast(0.3, 0.0, p=1.0),
    "RandomContrast": lambda A, side: A.RandomBrightnessContrast(0.0, 0.4, p=1.0),
    "RandomColorJitter": lambda A, side: A.ColorJitter(0.1, 0.2, 0.3, 0.05, p=1.0),
    "RandomGrayscale": lambda A, side: A.ToGray(p=0.5),
    "RandomInvert": lambda A, side: A.InvertImg(p=1.0),
    "RandomPosterization": lambda A, side: A.Posterize(4, p=1.0),
    "Solarization": lambda A, side: A.Solarize((0.0, 0.8), p=1.0),
    "Equalization": lambda A, side: A.Equalize(p=1.0),
    "AutoContrast": lambda A, side: A.AutoContrast(p=1.0),
    "RandomGaussianBlur": lambda A, side: A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.01, 1.0), p=1.0),
    "RandomSharpness": lambda A, side: A.Sharpen(p=1.0),
    "RandomErasing": lambda A, side: A.Erasing(fill="random", p=1.0),
    "RandomGamma": lambda A, side: A.RandomGamma((70, 150), p=1.0),
    "RandomNoise": lambda A, side: A.GaussNoise((0.0, 0.1), p=1.0),
    "RandomThinPlateSpline": lambda A, side: A.ThinPlateSpline(p=1.0),
}

# What has other arguments there.
ALBUMENTATIONSX = {
    "RandomRotation": lambda A, side: A.Rotate((-36, 36), **REFLECT),
    "RandomElasticTransform": lambda A, side: A.ElasticTransform(p=1.0),
    "RandomBrightness": lambda A, side: A.RandomBrightnessContrast((-0.3, 0.3), (0.0, 0.0), p=1.0),
    "RandomContrast": lambda A, side: A.RandomBrightnessContrast((0.0, 0.0), (-0.4, 0.4), p=1.0),
    "RandomColorJitter": lambda A, side: A.ColorJitter((0.9, 1.1), (0.8, 1.2), (0.7, 1.3), (-0.05, 0.05), p=1.0),
    "RandomPosterization": lambda A, side: A.Posterize((4, 4), p=1.0),
    "RandomGaussianBlur": lambda A, side: A.GaussianBlur((3, 3), (0.01, 1.0), p=1.0),
}


def _torchvision(T, side):
    return {
        "RandomFlip": lambda: T.RandomHorizontalFlip(),
        "RandomRotation": lambda: T.RandomRotation(36, T.InterpolationMode.BILINEAR),
        "RandomTranslation": lambda: T.RandomAffine(0, (0.1, 0.1), interpolation=T.InterpolationMode.BILINEAR),
        "RandomAffine": lambda: T.RandomAffine(36, (0.1, 0.1), (0.9, 1.1), 5.7, T.InterpolationMode.BILINEAR),
        "RandomPerspective": lambda: T.RandomPerspective(p=1.0),
        "RandomElasticTransform": lambda: T.ElasticTransform(34.0, 4.0),
        "RandomCrop": lambda: T.RandomCrop(side * 7 // 8),
        "RandomResizedCrop": lambda: T.RandomResizedCrop(side * 7 // 8, antialias=True),
        "RandomBrightness": lambda: T.ColorJitter(brightness=0.3),
        "RandomContrast": lambda: T.ColorJitter(contrast=0.4),
        "RandomSaturation": lambda: T.ColorJitter(saturation=0.8),
        "RandomHue": lambda: T.ColorJitter(hue=0.5),
        "RandomColorJitter": lambda: T.ColorJitter(0.1, 0.2, 0.3, 0.05),
        "RandomGrayscale": lambda: T.RandomGrayscale(0.5),
        "RandomInvert": lambda: T.RandomInvert(1.0),
        "RandomPosterization": lambda: T.RandomPosterize(4, 1.0),
        "Solarization": lambda: T.RandomSolarize(128, 1.0),
        "Equalization": lambda: T.RandomEqualize(1.0),
        "AutoContrast": lambda: T.RandomAutocontrast(1.0),
        "RandomGaussianBlur": lambda: T.GaussianBlur(3, (0.01, 1.0)),
        "RandomSharpness": lambda: T.RandomAdjustSharpness(2.0, 1.0),
        "RandomErasing": lambda: T.RandomErasing(1.0, value="random"),
        "RandAugment": lambda: T.RandAugment(),
        "AugMix": lambda: T.AugMix(),
        "TrivialAugment": lambda: T.TrivialAugmentWide(),
    }


def composed(library, name, side):
    """A function of one image (H, W, C) uint8, made of a library's transform of that name; None where it has none."""
    if library == "torchvision":
        import torch
        from torchvision.transforms import v2 as T

        torch.set_num_threads(1)
        make = _torchvision(T, side).get(name)
        transform = make and make()
        # A view, as torchvision has channels first.
        return transform and (lambda image: transform(torch.from_numpy(image).permute(2, 0, 1)).numpy())
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)
    make = (ALBUMENTATIONS if library == "albumentations" else ALBUMENTATIONS | ALBUMENTATIONSX).get(name)
    compose = make and A.Compose([make(A, side)], seed=7)
    return compose and (lambda image: compose(image=image)["image"])


def cost(library, name, side, runs, seconds):
    """Median processor milliseconds an image, in batches of 32; None where the library has no such transform."""
    import numpy as np

    augment = composed(library, name, side)
    if augment is None:
        return None
    images = np.random.default_rng(0).integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    times = []
    for _ in range(runs + 1):  # the first warms up
        begun, start, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - begun < seconds:
            np.stack([augment(image) for image in images])
            count += len(images)
        times.append((time.process_time() - start) / count * 1e3)
    return statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["albumentations", "albumentationsx", "torchvision"])
    parser.add_argument("layers", nargs="+")
    parser.add_argument("--sides", nargs="+", type=int, default=[224, 32])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    found = {
        f"{name} {side}": cost(options.library, name, side, options.runs, options.seconds)
        for name in options.layers
        for side in options.sides
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
