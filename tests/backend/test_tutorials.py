"""The input pipelines of two stock tutorials, with our layers where theirs were, before models of the backend.

Each is written anew after its tutorial: keras.io's "Image classification from scratch" and TensorFlow's "Data
augmentation". What differs from them is the import, and that images are small and made here.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers

SIDE, CLASSES = 24, 3
AUTOTUNE = tf.data.AUTOTUNE


def photographs(count):
    """Noise with more light in one color channel: which one is the class, however they are turned."""
    labels = np.arange(count) % CLASSES
    images = np.random.default_rng(0).integers(0, 120, (count, SIDE, SIDE, 3))
    images[np.arange(count), :, :, labels] += 90
    return images.astype("uint8"), labels


@pytest.fixture
def folder(tmp_path):
    for number, (image, label) in enumerate(zip(*photographs(48), strict=True)):
        place = tmp_path / f"class_{label}"
        place.mkdir(exist_ok=True)
        tf.io.write_file(str(place / f"{number}.png"), tf.io.encode_png(image))
    return tmp_path


def network(*first):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((SIDE, SIDE, 3)), *first, keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    return model


def learned(model, train, validation):
    history = model.fit(train, epochs=12, validation_data=validation, verbose=0).history
    return history["val_accuracy"][-1]


def test_image_classification_from_scratch(folder):
    train, validation = keras.utils.image_dataset_from_directory(
        folder, validation_split=0.25, subset="both", seed=1337, image_size=(SIDE, SIDE), batch_size=12, verbose=False
    )
    augmentation = [layers.RandomFlip("horizontal", seed=1), layers.RandomRotation(0.1, seed=2)]

    def augment(images):
        for layer in augmentation:
            images = layer(images)
        return images

    train = train.map(lambda images, labels: (augment(images), labels), num_parallel_calls=AUTOTUNE)
    model = network(keras.layers.Rescaling(1 / 255))
    assert learned(model, train.prefetch(AUTOTUNE), validation.prefetch(AUTOTUNE)) > 0.9


def test_data_augmentation_after_resizing_and_rescaling():
    resize_and_rescale = kas.Pipeline.from_keras([keras.layers.Resizing(SIDE, SIDE), keras.layers.Rescaling(1 / 255)])
    augmentation = keras.layers.Pipeline([layers.RandomFlip(seed=1), layers.RandomRotation(0.2, seed=2)])

    def prepare(images, labels, augment=False):
        dataset = tf.data.Dataset.from_tensor_slices((images, labels))
        dataset = dataset.map(lambda x, y: (resize_and_rescale(x), y), num_parallel_calls=AUTOTUNE)
        dataset = dataset.shuffle(100, seed=3) if augment else dataset
        dataset = dataset.batch(12)
        if augment:
            dataset = dataset.map(lambda x, y: (augmentation(x, training=True), y), num_parallel_calls=AUTOTUNE)
        return dataset.prefetch(AUTOTUNE)

    images, labels = photographs(48)
    images = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)  # to be made smaller again
    train, validation = prepare(images[:36], labels[:36], augment=True), prepare(images[36:], labels[36:])
    assert float(tf.reduce_max(next(iter(train))[0])) <= 1.0
    assert learned(network(), train, validation) > 0.9
