"""The callback that labels a pool while `fit` runs, and the training set through which `fit` sees the labels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.self_training.feeder import Board, Published, TrainingSet
from keras_aug_ssl.self_training.labeled import labeled_rows
from keras_aug_ssl.self_training.labeller import Labeller, as_choice
from keras_aug_ssl.self_training.ledger import NEVER, NO_LABEL
from keras_aug_ssl.self_training.outputs import BINARY, CLASSES, class_numbers, encode, read_outputs
from keras_aug_ssl.self_training.rules import Rule, Threshold

OWNER = "SelfTraining"


class SelfTraining(keras.callbacks.Callback):
    """Trains on what the model itself labels with confidence, in one `model.fit`.

    At the beginning of an epoch the model labels the pool, a rule selects rows, and the epoch's batches are drawn from
    labelled and selected rows. The length of an epoch never changes. Labelled rows are never changed.

    Args:
        pool: an `UnlabeledPool`, or what one is made of.
        select: a rule, or a function from (N, K) probabilities to (N,) weights in [0, 1].
        start_epoch: first epoch, counted from 0, that trains on pseudo-labels.
        every: epochs from one selection to the next.
        max_iter: most selections; None for as many as the epochs allow, 0 for none.
        labels: `"hard"`, the most probable class, or `"soft"`, the probabilities.
        relabel: True labels all rows anew each time, so that rows may change their label and leave; False keeps the
            first label for good, as scikit-learn does; a rule, looser than `select`, says which rows may stay
            (hysteresis).
        weight: of a pseudo-labelled row relative to a labelled one; a number > 0, or a function of the selection's
            number.
        temperature: divides the logits before the rule sees them; above 1 for an over-confident model. None is 1.
        oracle: true labels of the pool, (N,) or one-hot, to log how many pseudo-labels are right. Nothing learns from
            them.

    Attributes, with scikit-learn's names and meaning; the labelled rows come first, then the pool's:
        transduction_: the label of every row, -1 for none; (N, K) with NaN for several labels and for regression.
        labeled_iter_: the selection in which every row got its label; 0 for labelled rows, -1 for rows without.
        n_iter_: number of selections.
        termination_condition_: `"all_labeled"`, `"no_change"` (the last selection changed nothing) or `"max_iter"`
            (`max_iter` or the last epoch came first).

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> x, y = np.random.default_rng(0).normal(size=(20, 2)).astype("float32"), np.arange(20) % 2
        >>> model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> st = kas.SelfTraining(kas.UnlabeledPool(x[4:]), select=kas.rules.TopK(2), start_epoch=1)
        >>> history = model.fit(st.training_set(x[:4], y[:4], batch_size=4), epochs=3, callbacks=[st], verbose=0)
        >>> st.n_iter_, len(st.transduction_), history.history["n_pseudo"][0]
        (2, 20, 0.0)
    """

    def __init__(
        self,
        pool: Any,
        select: Rule | Callable[[np.ndarray], Any] | None = None,
        *,
        start_epoch: int = 5,
        every: int = 1,
        max_iter: int | None = None,
        labels: str = "hard",
        relabel: bool | Rule = True,
        weight: float | Callable[[int], float] = 1.0,
        temperature: float | None = None,
        oracle: Any = None,
    ) -> None:
        super().__init__()
        choice = as_choice(OWNER, Threshold(0.95) if select is None else select, labels, relabel, weight, temperature)
        self._labeller = Labeller(OWNER, pool, choice, oracle)
        self.start_epoch = checks.integer(OWNER, "start_epoch", start_epoch, 0)
        self.every = checks.integer(OWNER, "every", every, 1)
        self.max_iter = math.inf if max_iter is None else checks.integer(OWNER, "max_iter", max_iter, 0)
        self._board = Board()
        self._training_set: TrainingSet | None = None
        self._next_epoch = 0

    @property
    def pool(self) -> Any:
        """The pool."""
        return self._labeller.pool

    def training_set(
        self,
        x: Any,
        y: Any,
        batch_size: int = 64,
        augment: Callable[..., Any] | None = None,
        *,
        augment_pseudo: Callable[..., Any] | None = None,
        labeled_fraction: float = 0.5,
        steps: int | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        seed: int = 0,
    ) -> TrainingSet:
        """Returns what to give to `fit` in place of x and y.

        Args:
            x: (N, ...) labelled inputs, in the structure, shape and dtype of the pool.
            y: (N,) class numbers, (N, K) one-hot, (N, K) several labels, or numbers.
            batch_size: rows in every batch, >= 2.
            augment: a callable on inputs; it gets `training=True` if it takes it, and a (2,) integer `seed` that is a
                function of seed, epoch and batch if it takes that. What draws by itself doesn't continue exactly after
                a resume.
            augment_pseudo: for pseudo-labelled rows; None takes `augment`.
            labeled_fraction: least share of labelled rows in a batch, in (0, 1); they are repeated to fill it. Where
                they are more than that share of all rows, their share is taken.
            steps: batches an epoch; None for as many as labelled rows and pool fill together.
            sample_weight: (N,) weights of the labelled rows.
            class_weight: from class to a weight, for labelled and pseudo-labelled rows alike.
            seed: int >= 0 of order and augmentation.

        Returns:
            A `keras.utils.PyDataset` with a constant number of full batches, `(x, y)`, or `(x, y, sample_weight)` where
            any weight can differ from 1.
        """
        choice = self._labeller.choice
        weighted = choice.select.graded or choice.weight != 1.0
        labeled = labeled_rows(
            OWNER, x, y, self.pool.spec,
            soft=choice.soft, weighted=weighted, sample_weight=sample_weight, class_weight=class_weight,
        )  # fmt: skip
        batch_size = checks.integer(OWNER, "batch_size", batch_size, 2)
        share = checks.number(OWNER, "labeled_fraction", labeled_fraction, 0.0, 1.0, low_open=True, high_open=True)
        if steps is None:
            steps = math.ceil((len(labeled) + len(self.pool)) / batch_size)
        self._training_set = TrainingSet(
            labeled,
            self.pool,
            self._board,
            batch_size=batch_size,
            steps=checks.integer(OWNER, "steps", steps, 1),
            labeled_fraction=share,
            augment=augment,
            augment_pseudo=augment if augment_pseudo is None else augment_pseudo,
            seed=checks.integer(OWNER, "seed", seed, 0),
        )
        return self._training_set

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads what the model puts out."""
        labeled = self._feeder().labeled
        if self.params.get("steps") not in (None, len(self._feeder())):
            checks.fail(
                "fit", "steps_per_epoch", f"left out, or {len(self._feeder())}", self.params["steps"],
                "Set the number of batches by training_set(..., steps=...), and give that set to fit.",
            )  # fmt: skip
        outputs = read_outputs(OWNER, self.model, labeled.x, labeled.y)
        self._labeller.use(self.model, outputs, labeled.y)
        self._board.was_read = False
        self._first = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Selects, when it is time, and publishes the epoch's rows."""
        if self._first and (epoch == 0 or epoch != self._next_epoch):
            self._labeller.reset()
        self._first = False
        labeller = self._labeller
        due = epoch >= self.start_epoch and (epoch - self.start_epoch) % self.every == 0
        if due and labeller.round < self.max_iter and not labeller.finished:
            labeller.run_round(verbose=self.params.get("verbose") == 1)
        code = functools.partial(encode, labeller.outputs, like=self._feeder().labeled.y[:1])
        self._board.current = Published(epoch, labeller.selected, code)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs."""
        if not self._board.was_read:
            checks.fail("fit", "x", "the training set that SelfTraining.training_set returned", "something else")
        if logs is not None:
            logs |= self._labeller.logs()
        self._next_epoch = epoch + 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the rows from the board, so that a later fit without this callback sees labelled rows only."""
        self._board.current = None

    @property
    def n_iter_(self) -> int:
        """Number of selections."""
        return self._labeller.round

    @property
    def transduction_(self) -> np.ndarray:
        """Labels of the labelled rows and of the pool, -1 for none."""
        y, labeller = self._feeder().labeled.y, self._labeller
        if labeller.outputs.kind in (CLASSES, BINARY):
            pseudo = np.where(labeller.ledger.selected, labeller.ledger.label, NO_LABEL)
            return np.concatenate([class_numbers(y), pseudo])
        pseudo = np.full((len(self.pool), *y.shape[1:]), np.nan, np.float32)
        pseudo[labeller.selected.rows] = labeller.selected.targets.reshape(-1, *y.shape[1:])
        return np.concatenate([y.astype(np.float32), pseudo])

    @property
    def labeled_iter_(self) -> np.ndarray:
        """Selection in which each row got its label: 0 for labelled rows, -1 for rows without."""
        ledger = self._labeller.ledger
        entered = np.where(ledger.selected, ledger.entered, NEVER)
        return np.concatenate([np.zeros(len(self._feeder().labeled), np.int64), entered])

    @property
    def termination_condition_(self) -> str:
        """Why selecting ended."""
        if self._labeller.ledger.selected.all():
            return "all_labeled"
        if self.n_iter_ and not self._labeller.change.anything:
            return "no_change"
        return "max_iter"

    def _feeder(self) -> TrainingSet:
        if self._training_set is None:
            checks.fail(
                "fit", "x", "the training set that SelfTraining.training_set returned", "something else",
                "Call fit(st.training_set(x, y, batch_size=64), callbacks=[st]).",
            )  # fmt: skip
        return self._training_set
