"""What each seed of a study learns from: few labeled images, many without labels, and test images."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_aug_ssl import checks, data

TEST_IMAGES = 1000
"""At most this many test images are used: attacking more takes longer than training."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One seed's images, floats in [0, 1] of shape (N, H, W, C), with integer labels (N,).

    `y_hidden` holds the true labels of the unlabeled images. No method may learn from them; they only tell,
    afterwards, how many pseudo-labels were true.
    """

    seed: int
    num_classes: int
    x_labeled: np.ndarray
    y_labeled: np.ndarray
    x_unlabeled: np.ndarray
    y_hidden: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Images:
    """Training and test images of a data set, floats in [0, 1]; the tasks of all seeds are cut from them.

    `class_names` may be empty: classes are then called by their numbers.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...] = ()

    @classmethod
    def load(cls, name: str, data_dir: str | None = None, image_size: int | None = None) -> Images:
        """Reads a data set by the name `keras_aug_ssl.data.load` knows it under."""
        size = None if image_size is None else (image_size, image_size)
        dataset = data.load(name, data_dir=data_dir, image_size=size)
        train, test = dataset
        for part in (train, test):
            if part.x.ndim != 4 or part.x.dtype != np.uint8 or part.y.ndim != 1 or part.y.dtype.kind != "i":
                checks.fail("study", "dataset", "a set of images (N, H, W, C), uint8, with one class number each", name)
        chosen = np.random.default_rng(0).permutation(len(test.x))[:TEST_IMAGES]
        return cls(_unit(train.x), train.y, _unit(test.x[chosen]), test.y[chosen], dataset.class_names)

    @property
    def num_classes(self) -> int:
        """Number of classes among the training images."""
        return len(np.unique(self.y_train))

    def name(self, label: int) -> str:
        """What a reader knows a class by."""
        return self.class_names[label] if self.class_names else str(label)

    def task(self, labels: int, seed: int) -> Task:
        """Keeps the labels of `labels` training images, equally many of each class, and hides the others'."""
        per_class, rest = divmod(labels, self.num_classes)
        if rest or not per_class:
            nearest = max(1, round(labels / self.num_classes)) * self.num_classes
            checks.fail(
                "study", "labels", f"a multiple of the {self.num_classes} classes, so that each has the same number",
                labels, f"The nearest is {nearest}.",
            )  # fmt: skip
        if labels == len(self.y_train):
            images = f"fewer than the {len(self.y_train)} images, so that some are left without a label"
            checks.fail("study", "labels", images, labels)
        split = data.split_labels(self.x_train, self.y_train, per_class=per_class, seed=seed)
        return Task(seed, self.num_classes, *split, self.x_test, self.y_test)


def _unit(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255.0
