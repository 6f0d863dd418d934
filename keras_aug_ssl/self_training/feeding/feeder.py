"""What `fit` trains on: batches of one size, sampled anew each epoch from labeled rows and the selected ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.labels import SIGNED, class_numbers, form_of
from keras_aug_ssl.self_training.feeding.augmenting import Augmentation, key_of
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool

LABELED, PSEUDO, ORDER, AUGMENT, AUGMENT_PSEUDO = range(5)  # streams of random numbers; each its own


@dataclasses.dataclass(frozen=True)
class Selected:
    """Rows of a pool that take part in training. Never changed once made, since other threads read it.

    Attributes:
        rows: (M,) positions in the pool.
        targets: (M,) class numbers, or (M, K) soft targets.
        weights: (M,) float32 in (0, 1].
    """

    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class Published:
    """What the batches of an epoch are made from: swapped as a whole, so no batch sees half of a change."""

    epoch: int
    selected: Selected | None = None
    encode: Callable[[np.ndarray], np.ndarray] = np.asarray


class Board:
    """Where the callback publishes and training sets read."""

    def __init__(self) -> None:
        self.current: Published | None = None
        self.was_read = False


@dataclasses.dataclass(frozen=True)
class Labeled:
    """The labeled rows.

    Attributes:
        x: inputs, in the structure of the pool's.
        y: targets as the loss wants them.
        weight: (N,) float32, or None where no row, labeled or not, has another weight than 1.
        class_weight: weights by class, which multiply the weights; classes that it doesn't name have 1.
    """

    x: Any
    y: np.ndarray
    weight: np.ndarray | None
    class_weight: dict[int, float] | None

    def __len__(self) -> int:
        return len(self.y)


class TrainingSet(keras.utils.PyDataset):
    """Batches of labeled and pseudo-labeled rows; made by `SelfTraining.training_set`.

    The number of batches never changes and every batch is full: `fit` reads the number once, and each new size of a
    batch would be compiled anew. What a batch holds is a function of (seed, epoch, its number) and the rows selected,
    so a resumed run continues exactly. `fit` asks for batches in an order drawn from Python's global random state; with
    one worker they come in their own order all the same, with more only under `fit(shuffle=False)`.

    Inputs have one dtype in all batches, which holds both kinds of rows as they are augmented: `fit` takes the dtype of
    the first batches and casts the others to it.

    Args:
        labeled: the rows with labels.
        pool: where selected rows are read.
        board: where the callback publishes what is selected.
        batch_size: rows a batch.
        steps: batches an epoch.
        labeled_fraction: least share of labeled rows in a batch.
        augment: for labeled rows, a function of inputs and key, or None.
        augment_pseudo: for pseudo-labeled rows; the same object as `augment` joins both kinds in one call.
        seed: of order and augmentation.
    """

    def __init__(
        self,
        labeled: Labeled,
        pool: UnlabeledPool,
        board: Board,
        *,
        batch_size: int,
        steps: int,
        labeled_fraction: float,
        augment: Augmentation | None,
        augment_pseudo: Augmentation | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.labeled, self.batch_size, self.seed = labeled, batch_size, seed
        self._pool, self._board, self._steps = pool, board, steps
        self._labeled_fraction, self._augment = labeled_fraction, augment
        self._augment_pseudo, self._signed = augment_pseudo, form_of(labeled.y) == SIGNED
        self._epoch, self._inside, self._turn = 0, False, 0
        self._dtypes: Any = None
        self._orders: dict[tuple[int, ...], np.ndarray] = {}

    def __len__(self) -> int:
        return self._steps

    @property
    def settings(self) -> dict[str, Any]:
        """What, besides rows and seed, decides what the batches hold."""
        names = ("batch_size", "_steps", "_labeled_fraction", "_augment", "_augment_pseudo")
        return {name: getattr(self, name) for name in names}

    def on_epoch_begin(self) -> None:
        """Notes that an epoch runs."""
        self._inside, self._turn = True, 0

    def on_epoch_end(self) -> None:
        """Counts epochs for a fit without the callback; Keras calls it once more before each fit begins."""
        if not self._inside:
            self._epoch = 0
        elif self._board.current is None:
            self._epoch += 1
        # The callback publishes anew for each epoch. Without it, what an interrupted fit left would be used.
        self._inside, self._board.current = False, None

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index`, `(x, y)` or `(x, y, sample_weight)`; while `fit` runs an epoch, the next one."""
        if self._inside and self.workers <= 1:
            index, self._turn = self._turn, self._turn + 1
        return self._made(index, self._board.current or Published(self._epoch))

    @property
    def __array_interface__(self) -> NoReturn:
        """What NumPy and TensorFlow ask for before they take a thing with a length for a list of rows."""
        checks.fail(
            "fit", "x", "of a kind that this fit takes", "a training set of batches",
            "As a tf.data.Dataset: fit(st.training_set(x, y).as_dataset(), callbacks=[st]).", error=TypeError,
        )  # fmt: skip

    def as_dataset(self) -> tf.data.Dataset:
        """Returns the same batches as a `tf.data.Dataset`, for a `fit` that takes no `PyDataset`, as KerasHub's tasks.

        Every pass over it is an epoch and reads what is selected then, so `cache`, `shuffle` and `repeat` would mix
        epochs. Without the callback epochs are counted by passes that came to their end.
        """
        self._board.current, finished, seen = None, 0, None

        def batches() -> Iterator[tuple[Any, ...]]:
            nonlocal finished, seen
            epoch, current = finished, self._board.current
            # The callback publishes anew for each epoch. What was seen before, an interrupted fit left.
            published = Published(epoch) if current is None or current is seen else current
            seen = current
            for index in range(self._steps):
                batch = self._made(index, published)
                if index + 1 == self._steps:
                    finished = epoch + 1
                yield batch

        # Keras looks at two batches of a `PyDataset` for the sizes that differ; equal graphs give equal bits.
        looked_at = [self._made(index, Published(0)) for index in range(min(2, self._steps))]
        signature = keras.tree.map_structure(_spec, *looked_at)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(self._steps)).prefetch(tf.data.AUTOTUNE)

    def _made(self, index: int, published: Published) -> tuple[Any, ...]:
        """Batch `index` of a published epoch."""
        self._board.was_read = True
        selected = published.selected if published.selected is not None and len(published.selected) else None
        epoch, total = published.epoch, self.batch_size
        real = total if selected is None else self._num_labeled(len(selected))
        rows = self._rows(LABELED, epoch, index * real, real, len(self.labeled))
        x, y = keras.tree.map_structure(lambda part: part[rows], self.labeled.x), self.labeled.y[rows]
        weight = None if self.labeled.weight is None else self.labeled.weight[rows]
        key = (epoch, index)
        if selected is None:
            return self._batch(self._augmented(self._augment, x, (AUGMENT, *key)), y, weight)
        places = self._rows(PSEUDO, epoch, index * (total - real), total - real, len(selected))
        more = self._pool.take(selected.rows[places])
        x = self._join(x, more, key)
        y = np.concatenate([y, published.encode(selected.targets[places])])
        if weight is not None:
            weight = np.concatenate([weight, selected.weights[places]])
        order = self._generator(ORDER, epoch, index).permutation(total)  # replicas get equal shares of both kinds
        return self._batch(
            keras.tree.map_structure(lambda part: part[order], x), y[order], None if weight is None else weight[order]
        )

    def _num_labeled(self, selected: int) -> int:
        natural = len(self.labeled) / (len(self.labeled) + selected)
        number = math.floor(self.batch_size * max(self._labeled_fraction, natural) + 0.5)
        return min(max(number, 1), self.batch_size - 1)

    def _rows(self, stream: int, epoch: int, first: int, count: int, size: int) -> np.ndarray:
        """Rows `first` to `first + count` of an endless sequence of shufflings of `size` rows."""
        found = []
        while count:
            turn, place = divmod(first, size)
            part = self._order(stream, epoch, turn, size)[place : place + count]
            found.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(found)

    def _order(self, stream: int, epoch: int, turn: int, size: int) -> np.ndarray:
        key = (stream, epoch, turn, size)
        order = self._orders.get(key)
        if order is None:
            order = self._generator(stream, epoch, turn).permutation(size)
            # A new dict each time: another worker may be reading the old one.
            kept = {k: v for k, v in self._orders.items() if k[0] != stream or (k[1], k[2] + 1) == (epoch, turn)}
            self._orders = {**kept, key: order}
        return order

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _join(self, x: Any, more: Any, key: tuple[int, int]) -> Any:
        """Both kinds of rows, augmented; in one call where both have one augmentation."""
        if self._augment is self._augment_pseudo:
            joined = keras.tree.map_structure(lambda a, b: np.concatenate([a, b]), x, more)
            return self._augmented(self._augment, joined, (AUGMENT, *key))
        parts = (
            self._augmented(self._augment, x, (AUGMENT, *key)),
            self._augmented(self._augment_pseudo, more, (AUGMENT_PSEUDO, *key)),
        )
        return keras.tree.map_structure(lambda a, b: np.concatenate([a, b]), *parts)

    def _augmented(self, augment: Augmentation | None, x: Any, stream: tuple[int, ...]) -> Any:
        return x if augment is None else augment(x, key_of(self.seed, *stream))

    def _dtypes_of(self, x: Any) -> Any:
        """The dtypes of all batches' inputs, given one batch's."""
        if self._dtypes is None:
            other = x
            if self._augment is not self._augment_pseudo:
                some = keras.tree.map_structure(lambda part: part[: self.batch_size], self.labeled.x)
                augments = (self._augment, AUGMENT), (self._augment_pseudo, AUGMENT_PSEUDO)
                x, other = (self._augmented(augment, some, (stream, 0, 0)) for augment, stream in augments)
            self._dtypes = keras.tree.map_structure(lambda a, b: np.result_type(a.dtype, b.dtype), x, other)
        return self._dtypes

    def _batch(self, x: Any, y: np.ndarray, weight: np.ndarray | None) -> tuple[Any, ...]:
        x = keras.tree.map_structure(lambda part, dtype: part.astype(dtype, copy=False), x, self._dtypes_of(x))
        if weight is None:
            return x, y
        if self.labeled.class_weight is not None:
            classes = class_numbers(y, self._signed)
            for label, factor in self.labeled.class_weight.items():
                weight = np.where(classes == label, weight * np.float32(factor), weight)
        return x, y, weight


def _spec(*arrays: np.ndarray) -> tf.TensorSpec:
    """What one array of all batches looks like: the batch axis is open, as are sizes that differ."""
    sizes = [set(each) for each in zip(*(array.shape[1:] for array in arrays), strict=True)]
    return tf.TensorSpec([None, *(each.pop() if len(each) == 1 else None for each in sizes)], arrays[0].dtype)
