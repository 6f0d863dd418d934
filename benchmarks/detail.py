"""Sharpness that is left after turning, zooming and shifting: one resampling against one for each layer.

    python benchmarks/detail.py [--draws 8] [--data-dir DIR] [--markdown FILE]

Rotation, zoom and translation with drawn strengths, the same for every image and contender: a `Pipeline` of ours, our
layers called one by one, and the stock Keras layers one by one, on float32 images. The reference is one resampling by
SciPy's spline of order 5 with the product of the three matrices. Compared is the middle half of the height and width,
which no border reaches. PSNR is that to the reference, for a span of 255; "std kept" and "edges kept" divide the
standard deviation and the 99th percentile of the steps between neighbouring pixels by those of the reference.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _training import Table, mean_and_spread
from scipy import ndimage

import keras_aug_ssl as kas
from keras_aug_ssl.testing.laws import op_by_op

KEY = (0, 0)  # any: the strengths are fixed


def strengths(rng):
    """One setting of the three layers: a fraction of a turn, two of the side for the zoom, two for the shift."""
    return [rng.uniform(-0.05, 0.05), *rng.uniform(-0.1, 0.1, 4)]


def chain(make, setting):
    """The layers of `keras.layers` or `keras_aug_ssl.layers` with one setting; nothing about them is left to chance."""
    turn, zoom_height, zoom_width, down, right = ((value, value) for value in setting)
    return [make.RandomRotation(turn), make.RandomZoom(zoom_height, zoom_width), make.RandomTranslation(down, right)]


def one_by_one(layers, images):
    for layer in layers:
        images = layer(images, training=True)
    return np.asarray(images)


def fused(layers, images):
    return np.asarray(kas.Pipeline(layers)(images, training=True))


CONTENDERS = {
    "one pass": lambda setting, images: fused(chain(kas.layers, setting), images),
    "ours, layer by layer": lambda setting, images: one_by_one(chain(kas.layers, setting), images),
    "stock Keras, layer by layer": lambda setting, images: one_by_one(chain(keras.layers, setting), images),
}


def reference(setting, images):
    """One resampling of every channel by a spline of order 5, with the product of the layers' matrices."""
    drawn = [layer.sample(images[:1], KEY)["out_to_in"][0] for layer in chain(kas.layers, setting)]
    product = np.linalg.multi_dot([np.asarray(matrix, "float64") for matrix in drawn])
    rows_first = product[[1, 0, 2]][:, [1, 0, 2]]  # SciPy counts rows before columns
    results = np.empty_like(images)
    for place in np.ndindex(len(images), images.shape[-1]):
        here = (place[0], ..., place[1])
        results[here] = ndimage.affine_transform(images[here], rows_first, order=5, mode="reflect")
    return results


# --- pictures ---------------------------------------------------------------------------------------------------------


def noise(options):
    """White noise: all that an image may hold of detail."""
    return np.random.default_rng(1).uniform(0, 255, (4, 128, 128, 3))


def edges(options):
    """Stripes, squares and a disc of two greys: sharp edges in all directions."""
    y, x = np.mgrid[:128, :128]
    disc = (x - 63.5) ** 2 + (y - 63.5) ** 2 < 30**2
    masks = [x // 16 % 2, (x // 16 + y // 16) % 2, disc]
    return np.repeat(32.0 + 192.0 * np.stack(masks)[..., None], 3, -1)


def photographs(options):
    """Pieces of the two photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_images

    return np.stack([image[100:356, 200:456] for image in load_sample_images().images])


def cifar10(options):
    """Test images of CIFAR-10."""
    return kas.data.load("cifar10", data_dir=options.data_dir).test.x[:64]


PICTURES = {
    "white noise, 128x128": noise,
    "edges, 128x128": edges,
    "photographs, 256x256": photographs,
    "CIFAR-10, 32x32": cifar10,
}


# --- figures ----------------------------------------------------------------------------------------------------------


def middle(images):
    height, width = images.shape[1:3]
    return images[:, height // 4 : height - height // 4, width // 4 : width - width // 4].astype("float64")


def edge_step(images):
    """The 99th percentile of the steps between neighbours in a row or a column."""
    return np.percentile(np.concatenate([np.abs(np.diff(images, axis=axis)).ravel() for axis in (1, 2)]), 99)


def figures(result, target):
    """(PSNR in dB, std kept, edges kept) of a result against the reference."""
    result, target = middle(result), middle(target)
    error = np.mean((result - target) ** 2)
    return 10 * np.log10(255.0**2 / error), result.std() / target.std(), edge_step(result) / edge_step(target)


def compare(images, settings):
    """{contender: (settings, 3) figures}."""
    found = {name: [] for name in CONTENDERS}
    with op_by_op():  # every setting is a graph of its own, which would be run once
        for setting in settings:
            target = reference(setting, images)
            for name, augment in CONTENDERS.items():
                found[name].append(figures(augment(setting, images), target))
    return {name: np.array(values) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", nargs="+", default=list(PICTURES), choices=list(PICTURES))
    parser.add_argument("--data-dir", default=os.environ.get("KERAS_AUG_SSL_TFDS"), help="of TFDS")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    settings = [strengths(rng) for _ in range(options.draws)]
    table = Table(
        f"Rotation, zoom and translation of float32 images; mean ± standard deviation over {options.draws} settings of "
        "their strengths; reference: one spline of order 5.",
        ["pictures", "contender", "PSNR, dB", "std kept, %", "edges kept, %"],
    )
    for name in options.pictures:
        images = PICTURES[name](options).astype("float32")
        for contender, values in compare(images, settings).items():
            psnr, std, edge = values.T
            table.add(name, contender, mean_and_spread(psnr, 1.0), mean_and_spread(std), mean_and_spread(edge))
    table.write(options.markdown)


if __name__ == "__main__":
    main()
