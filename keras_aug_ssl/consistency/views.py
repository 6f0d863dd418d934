"""What the network gets to see: weak views, on which it is asked, and strong ones, on which it learns.

A view is any function of a batch of inputs, as the model takes them. One that takes `seed=` gets a (2,) int64 key made
of seed and step, so that a resumed training sees the same; one that takes `training=` gets True.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws, layers
from keras_aug_ssl.consistency.batches import Batch, Found

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")

View = Callable[..., Any]


@register
class Views:
    """A weak view that is labeled, and a strong one that learns the label.

    Args:
        weak: a view for labeled inputs and for guessing labels. None is `layers.weak_augmentation()` for images.
        strong: the view that learns. None is `layers.strong_augmentation()` for images; "weak" is another draw of the
            weak view, "same" the very view that was labeled.

    Images with None are floats in 0..1 or anything in 0..255: a batch of floats without a value above 1 counts as 0..1.
    The default views mirror images; where left and right mean something, as in digits, pass views of your own.
    """

    def __init__(self, weak: View | None = None, strong: View | str | None = None) -> None:
        owner = type(self).__name__
        for name, view in (("weak", weak), ("strong", strong)):
            said = name == "strong" and view in ("weak", "same")
            if view is not None and not callable(view) and not said:
                checks.fail(owner, name, "a function of a batch of inputs, such as a Pipeline", view, error=TypeError)
        self.weak, self.strong = weak, strong

    def find(self, trainer: Any, batch: Batch, key: tf.Tensor) -> Found:
        """Looks at a batch. Called under a tape.

        Args:
            trainer: the `ConsistencyModel`.
            batch: what the step got.
            key: (2,) of seed, step and replica.
        """
        labeled, weak, student = self.draw(batch, key, trainer.labeller.views)
        by_itself, same = trainer.labeller.decay is None, self.strong == "same"
        shown = weak if same and by_itself else [student, *(weak if by_itself else [])]
        seen = trainer.passes([labeled, *shown], batch.y)
        answers = [part.scores for part in seen[1 if same else 2 :]] if by_itself else trainer.taught(weak)
        guess = trainer.guess(batch, seen[0], answers)
        return Found(trainer.supervised(batch, seen[0]), seen[0].output, guess, seen[1].scores)

    def draw(self, batch: Batch, key: tf.Tensor, count: int) -> tuple[Any, list[Any], Any]:
        """Returns the labeled view, `count` weak views of the unlabeled inputs, and the view that learns."""
        first, second, *others = draws.split(key, 2 + count)
        weak = [self.weakly(batch.unlabeled, other) for other in others]
        return self.weakly(batch.x, first), weak, self.strongly(batch.unlabeled, second, weak)

    def weakly(self, x: Any, key: tf.Tensor) -> Any:
        """A weak view."""
        return see("weak", self.weak or _standard("weak", x), x, key)

    def strongly(self, x: Any, key: tf.Tensor, weak: list[Any]) -> Any:
        """The view that learns."""
        if self.strong == "same":
            return weak[0]
        if isinstance(self.strong, str):
            return self.weakly(x, key)
        return see("strong", self.strong or _standard("strong", x), x, key)

    def get_config(self) -> dict[str, Any]:
        """Returns the views."""
        parts = vars(self)
        return {
            name: part if isinstance(part, (str, int, float, type(None))) else keras.saving.serialize_keras_object(part)
            for name, part in parts.items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Views:
        """Undoes `get_config`."""
        made = {
            name: keras.saving.deserialize_keras_object(part) if isinstance(part, dict) else part
            for name, part in config.items()
        }
        return cls(**made)


@register
def unchanged(x: Any) -> Any:
    """The view that shows the inputs as they are."""
    return x


def see(name: str, view: View, x: Any, key: tf.Tensor) -> Any:
    """A view of inputs, with the key and in training mode where it takes these."""
    takes = _takes(view)
    options: dict[str, Any] = {"training": True} if "training" in takes else {}
    if "seed" in takes:
        options["seed"] = tf.bitcast(key, tf.int64)
    shown = view(x, **options)
    try:
        tf.nest.assert_same_structure(x, shown)
    except (TypeError, ValueError):
        checks.fail("consistency", name, "a view that keeps the structure of the inputs", shown)
    for before, after in zip(tf.nest.flatten(x), tf.nest.flatten(shown), strict=True):
        if not before.shape.is_compatible_with(after.shape):
            checks.fail(
                "consistency", name, f"a view that keeps the shape of the inputs, {tuple(before.shape)}",
                tuple(after.shape), "All views pass the network in one batch: crop or resize before.",
            )  # fmt: skip
        after.set_shape(before.shape)
    return shown


def _takes(view: View) -> set[str]:
    function = view.call if isinstance(view, keras.layers.Layer) else view
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in
        return set()


def _standard(name: str, x: Any) -> View:
    """The view for who named none: images get the library's own, anything else needs the user's."""
    if not tf.is_tensor(x) or x.shape.rank != 4 or x.shape[-1] not in (1, 3):
        shown = tf.nest.map_structure(lambda part: tuple(part.shape), x)
        checks.fail(
            "consistency", name, "given where the inputs aren't images (batch, height, width, 1 or 3 channels)", shown,
            f"Pass {name}= a function that changes a batch of inputs {'a little' if name == 'weak' else 'much'}, such "
            "as one that adds noise or drops tokens.",
        )  # fmt: skip
    return functools.partial(_augmented, _pipelines()[name])


@functools.cache
def _pipelines() -> dict[str, View]:
    return {"weak": layers.weak_augmentation(), "strong": layers.strong_augmentation()}


def _augmented(pipeline: View, images: tf.Tensor, seed: Any) -> tf.Tensor:
    """Images through a pipeline for 0..255, whichever of the two ranges they are in."""
    if not images.dtype.is_floating:
        return pipeline(images, training=True, seed=seed)
    scale = tf.where(tf.reduce_max(images) <= 1.0, tf.cast(255.0, images.dtype), tf.cast(1.0, images.dtype))
    return pipeline(images * scale, training=True, seed=seed) / scale
