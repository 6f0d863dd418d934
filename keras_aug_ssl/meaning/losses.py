"""What a loss says about the outputs it judges, and what it makes of each example."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl.meaning.heads import CLASSES, NUMBERS

YES_NO, EITHER, UNREADABLE = "yes or no", "classes, or yes or no", "unreadable"


@dataclasses.dataclass(frozen=True)
class Says:
    """What a Keras loss says of the outputs it judges.

    Attributes:
        kind: `CLASSES`, `NUMBERS`, `YES_NO` (one unit or several, each by itself), `EITHER` (the head decides), or
            `UNREADABLE` (no labels that could be predicted).
        sparse: it wants class numbers.
        scores: it wants scores, with the boundary at zero, rather than probabilities.
        from_logits: it was told that the outputs are logits.
        name: of the loss.
    """

    kind: str
    sparse: bool = False
    scores: bool = False
    from_logits: bool = False
    name: str = ""

    @property
    def wants_probabilities(self) -> bool:
        """Whether logits would be misread by it."""
        return self.kind in (CLASSES, YES_NO, EITHER) and not self.scores and not self.from_logits


_KNOWN = {
    "categoricalcrossentropy": Says(CLASSES),
    "categoricalfocalcrossentropy": Says(CLASSES),
    "sparsecategoricalcrossentropy": Says(CLASSES, sparse=True),
    "categoricalgeneralizedcrossentropy": Says(CLASSES, sparse=True),
    "kldivergence": Says(CLASSES),
    "categoricalhinge": Says(CLASSES, scores=True),
    "binarycrossentropy": Says(YES_NO),
    "binaryfocalcrossentropy": Says(YES_NO),
    "hinge": Says(YES_NO, scores=True),
    "squaredhinge": Says(YES_NO, scores=True),
    "dice": Says(EITHER),
    "tversky": Says(EITHER),
    "circle": Says(UNREADABLE),
    "ctc": Says(UNREADABLE),
} | dict.fromkeys(
    (
        "meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "huber",
        "logcosh", "cosinesimilarity", "poisson",
    ),
    Says(NUMBERS),
)  # fmt: skip


def resolve(loss: Any, units: int, class_numbers: bool) -> Any:
    """The one loss of a model with one output: a Keras loss, a function, or None.

    Args:
        loss: what the model was compiled with, a name, or None.
        units: of the model's output, which with the labels says which cross-entropy `"crossentropy"` means.
        class_numbers: labels are class numbers, not one-hot.

    Raises:
        ValueError: for a name that Keras doesn't know.
    """
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    if isinstance(loss, dict) and len(loss) == 1 and not {"class_name", "config"} & set(loss):
        loss = next(iter(loss.values()))
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        loss = "binary_crossentropy" if units == 1 else f"{'sparse_' * class_numbers}categorical_crossentropy"
    return keras.losses.get(loss) if isinstance(loss, (str, dict)) else loss


def says(loss: Any) -> Says | None:
    """What a resolved loss says; None for a loss that is nobody's but the user's, and for no loss.

    A class derived from a Keras loss says what that one does, which is how a loss of one's own can tell its kind.
    """
    options: dict[str, Any] = {}
    if isinstance(loss, functools.partial):
        loss, options = loss.func, loss.keywords
    candidates = type(loss).__mro__ if isinstance(loss, keras.losses.Loss) else (loss,)
    for candidate in candidates:
        name = getattr(candidate, "__name__", "").replace("_", "").lower()
        if name in _KNOWN and getattr(candidate, "__module__", "").split(".")[0] == "keras":
            from_logits = bool(options.get("from_logits", getattr(loss, "from_logits", False)))
            shown = getattr(loss, "__name__", type(loss).__name__)
            return dataclasses.replace(_KNOWN[name], from_logits=from_logits, name=shown)
    return None


def per_example(loss: Any) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """What `evaluate` makes of each example: a function of targets and outputs, each (B, ...), giving (B,).

    A function of the user's is wrapped as `compile` wraps it, so that targets (B,) meet outputs (B, 1) one by one. A
    loss that gives one number for a whole batch is asked about each example as a batch of its own.
    """
    unreduced = _twin(loss) if isinstance(loss, keras.losses.Loss) else _Wrapped(loss)
    unreduced.reduction = None

    def values(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        found = unreduced(y_true, y_pred)
        if found.shape.rank == 0:
            found = tf.vectorized_map(lambda pair: unreduced(pair[0][None], pair[1][None]), (y_true, y_pred))
        found = tf.reshape(tf.cast(found, tf.float32), [tf.shape(y_pred)[0], -1])
        return tf.reduce_mean(found, axis=1)

    return values


def _twin(loss: keras.losses.Loss) -> keras.losses.Loss:
    """The same loss in another object. Keras copies by saving and loading, which a user's loss may not survive."""
    twin = object.__new__(type(loss))
    vars(twin).update(vars(loss))
    return twin


class _Wrapped(keras.losses.Loss):
    """A function as a Keras loss."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(name="wrapped")
        self.function = function

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The function's values, of arguments of one rank where a last axis of one is all that differs."""
        return tf.convert_to_tensor(self.function(*of_one_rank(y_true, y_pred)))


def of_one_rank(first: Any, second: Any) -> tuple[Any, Any]:
    """Both with the same rank where one only has a last axis of 1 more: (B,) grows, what is larger shrinks."""
    ranks = len(first.shape), len(second.shape)
    if ranks[0] > ranks[1]:
        second, first = of_one_rank(second, first)
        return first, second
    if ranks[1] == ranks[0] + 1 and second.shape[-1] == 1:
        return (first[:, None], second) if ranks[0] == 1 else (first, second[..., 0])
    return first, second
