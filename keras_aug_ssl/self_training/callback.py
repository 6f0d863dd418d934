"""The callback that labels a pool while `fit` runs, and the training set through which `fit` sees the labels."""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning.heads import CLASSES, LABELS, NUMBERS
from keras_aug_ssl.meaning.labels import encode
from keras_aug_ssl.rules import Decided, LowVariance, Rule, TopFraction
from keras_aug_ssl.rules.choice import as_choice
from keras_aug_ssl.self_training.books.backup import ANEW, Backup, Damaged, State, numbered, unnumbered
from keras_aug_ssl.self_training.books.books import Books
from keras_aug_ssl.self_training.books.identity import identity_of_model, identity_of_teachers
from keras_aug_ssl.self_training.feeding.feeder import Board, Published, TrainingSet
from keras_aug_ssl.self_training.feeding.labeled import Labeled
from keras_aug_ssl.self_training.feeding.training_set import make_training_set
from keras_aug_ssl.self_training.labelling import ensemble
from keras_aug_ssl.self_training.labelling.labeller import Labeller
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool
from keras_aug_ssl.self_training.report import Outcome
from keras_aug_ssl.self_training.rewinding import Rewinder
from keras_aug_ssl.teaching.guards import Alarm
from keras_aug_ssl.teaching.printing import log_unprinted
from keras_aug_ssl.teaching.teachers import set_training_state, training_state

OWNER = "SelfTraining"
START_EPOCH = 5
PRINTED = ("n_pseudo", "n_pseudo_added", "pseudo_accuracy", "pseudo_mean_absolute_error")
DEFAULTS = {CLASSES: TopFraction(0.2, step=0.05), LABELS: Decided(), NUMBERS: LowVariance()}


class SelfTraining(Outcome, keras.callbacks.Callback):
    """Trains on what the model itself labels with confidence, in one `model.fit`.

    At the beginning of an epoch the model labels the pool, a rule selects rows, and the epoch's batches are drawn from
    labeled and selected rows. The length of an epoch never changes. Labeled rows are never changed.

    What makes it help is that the model labels the rows as they are and learns on a harder view: what it is sure of
    teaches it nothing new on the same one. With an augmentation `training_set` also hides a patch of pseudo-labeled
    images; for other data give it a harder `augment_pseudo`.

    Other models may label instead: `teachers`, such as several, each fine-tuned in its own way (Zhang et al., arXiv
    2503.09707).

    Args:
        pool: an `UnlabeledPool`, or what one is made of.
        select: a rule, or a function from (N, K) probabilities to (N,) weights in [0, 1]. None is
            `TopFraction(0.2, step=0.05)`, the surest of each class, more of them each time; `Decided()` for several
            labels, and `LowVariance()` for regression.
        start_epoch: first epoch, counted from 0, that trains on pseudo-labels; None is 5. A `fit` that ends before it
            warns, unless it ends just there, as the first part of a longer training does. In a loop of fits tell each
            where it begins: `fit(epochs=n + 1, initial_epoch=n)`.
        every: epochs from one selection to the next.
        max_iter: most selections; None for as many as the epochs allow, 0 for none.
        labels: `"hard"`, the most probable class, or `"soft"`, the probabilities.
        relabel: True labels all rows anew each time, so that rows may change their label and leave; False keeps the
            first label for good, as scikit-learn does, and selects among the others; a rule, looser than `select`, says
            which rows may stay (hysteresis).
        weight: of a pseudo-labeled row relative to a labeled one; a number > 0, or a function of the selection's
            number.
        temperature: divides the logits before the rule sees them; above 1 for an over-confident model. None is 1;
            `"calibrated"` finds it on `holdout` at each selection.
        prior: (K,) share of each class in the pool, for rules that go by it. None estimates it at the first selection,
            when the model has learned from labeled rows alone, and believes the estimate as far as the model's errors
            can't explain it (`teaching.class_mix`); `class_mix_` says what came out. `"labeled"` takes the labeled
            rows' shares, which are the pool's when rows were labeled at random, and seldom when so many of each were.
        kind: what the model puts out: "classes", "labels" (each yes or no) or "numbers". None reads it from the loss,
            the last activation and the labels, as `fit` takes them; the error where they leave it open asks for it.
        oracle: true labels of the pool, (N,) or one-hot, to log how many pseudo-labels are right. Nothing learns from
            them.
        holdout: `(x, y)` rows that are not trained on and their classes, for `TargetPrecision`, for
            `temperature="calibrated"`, and to raise an alarm where the labels are too poor to learn from.
        teacher: `"current"` weights label, or their `"average"`, which the optimizer keeps (`use_ema=True`).
        teachers: list of trained models that label in place of the model in training, by the mean of their
            probabilities, or of their numbers. The model in training is one of them only where it is in the list:
            `teachers=[model, other]`. Each may end in logits or in probabilities, by its own compiled loss, else its
            last activation; all take the pool's rows and know the same classes. How far several spread, the standard
            deviation of the predicted class's probability, is the rows' `uncertainty`, and what `rules.Uncertainty()`
            and `rules.LowVariance()` go by. Each selection costs a prediction of the pool by each of them.
        on_alarm: what happens when a selection looks wrong: `"warn"` says so; `"pause"` also leaves the pool as it was;
            `"rollback"` also takes model, optimizer and pool back to before the last selection that was accepted.
        backup_dir: directory for the state of the run, one for each run. `fit` called again after a crash continues
            from the last finished epoch with the same result. None saves nothing. Weights and optimizer are part of it,
            so that pool and weights can't differ; next to `BackupAndRestore`, put this callback first.

    Attributes, with scikit-learn's names and meaning; the labeled rows come first, then the pool's:
        transduction_: the label of every row, -1 for none; (N, K) with NaN for several labels and for regression.
        labeled_iter_: the selection in which every row got its label; 0 for labeled rows, -1 for rows without.
        n_iter_: number of selections.
        class_mix_: the pool's class mix as it was estimated, how far that is believed, and from how many rows.
        termination_condition_: `"all_labeled"`, `"no_change"` (the last selection changed nothing) or `"max_iter"`
            (`max_iter` or the last epoch came first).
        alarms_: list of what looked wrong.

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
        start_epoch: int | None = None,
        every: int = 1,
        max_iter: int | None = None,
        labels: str = "hard",
        relabel: bool | Rule = True,
        weight: float | Callable[[int], float] = 1.0,
        temperature: float | str | None = None,
        prior: Any = None,
        kind: str | None = None,
        oracle: Any = None,
        holdout: tuple[Any, Any] | None = None,
        teacher: str = "current",
        teachers: Sequence[keras.Model] | None = None,
        on_alarm: str = "warn",
        backup_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        choice = as_choice(
            OWNER, select, DEFAULTS,
            labels=labels, relabel=relabel, weight=weight, temperature=temperature, teacher=teacher, prior=prior,
            kind=kind,
        )  # fmt: skip
        self._labeller = Labeller(OWNER, pool, choice, oracle, holdout)
        self._teachers = ensemble.checked(OWNER, teachers)
        self._start_is_given = start_epoch is not None
        self.start_epoch = START_EPOCH if start_epoch is None else checks.integer(OWNER, "start_epoch", start_epoch, 0)
        self.every = checks.integer(OWNER, "every", every, 1)
        self.max_iter = math.inf if max_iter is None else checks.integer(OWNER, "max_iter", max_iter, 0)
        self.on_alarm = checks.one_of(OWNER, "on_alarm", on_alarm, ("warn", "pause", "rollback"))
        self.alarms_: list[Alarm] = []
        self._backup = None if backup_dir is None else Backup(backup_dir, OWNER)
        self._begun: tuple[keras.Model, dict[str, str]] | None = None
        self._board = Board()
        self._training_set: TrainingSet | None = None
        self._rewinder = Rewinder()
        self._finished_epochs: int | None = None

    @property
    def pool(self) -> UnlabeledPool:
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
            x: (N, ...) labeled inputs, in the structure, shape and dtype of the pool.
            y: (N,) class numbers, (N, K) one-hot, (N, K) several labels, or numbers.
            batch_size: rows in every batch, >= 2.
            augment: a callable on inputs; it gets `training=True` if it takes it, and a (2,) integer `seed` that is a
                function of seed, epoch and batch if it takes that. What draws by itself doesn't continue exactly after
                a resume.
            augment_pseudo: for pseudo-labeled rows; None takes `augment` and, where rows are images (H, W, C), then
                paints a rectangle over each in the mean color. The same object as `augment` gives all rows one view.
            labeled_fraction: least share of labeled rows in a batch, in (0, 1); they are repeated to fill it. Where
                they are more than that share of all rows, their share is taken.
            steps: batches an epoch; None for as many as labeled rows and pool fill together.
            sample_weight: (N,) weights of the labeled rows.
            class_weight: from class to a weight, for labeled and pseudo-labeled rows alike.
            seed: int >= 0 of order and augmentation.

        Returns:
            A `keras.utils.PyDataset` with a constant number of full batches, `(x, y)`, or `(x, y, sample_weight)` where
            any weight can differ from 1. A `fit` that takes none, as of KerasHub's tasks, takes its `as_dataset()`, the
            same batches as a `tf.data.Dataset`.
        """
        self._training_set = make_training_set(
            OWNER,
            self._labeller.choice,
            self._labeller.pool,
            self._board,
            x,
            y,
            batch_size,
            augment,
            augment_pseudo=augment_pseudo,
            labeled_fraction=labeled_fraction,
            steps=steps,
            sample_weight=sample_weight,
            class_weight=class_weight,
            seed=seed,
        )
        return self._training_set

    def __repr__(self) -> str:
        books = self._labeller.books
        used = f"{int(books.ledger.selected.sum()):,} of {len(self._labeller.pool):,} rows in use"
        return f"SelfTraining by {self._labeller.choice.select!r}: {used} after {books.round} selections"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads what the model puts out, and takes up the state of an interrupted run."""
        feeder = self._feeder()
        if self.params.get("steps") not in (None, len(feeder)):
            checks.fail(
                "fit", "steps_per_epoch", f"left out, or {len(feeder)}", self.params["steps"],
                "Set the number of batches by training_set(..., steps=...), and give that set to fit.",
            )  # fmt: skip
        if feeder.use_multiprocessing and feeder.workers > 0:
            checks.fail(
                OWNER, "training_set.use_multiprocessing", "False", True,
                "Other processes don't see what is selected; several threads do: workers=2.",
            )  # fmt: skip
        self._was_idle = self._finished_epochs is not None and not self._labeller.books.round
        self._labeller.use(self.model, feeder.labeled, feeder.batch_size, self._teachers)
        self._board.was_read = False
        self._starting = True
        state = None if self._backup is None else self._backup.begin(self._run(feeder))
        if state is not None:
            if self.params["epochs"] < state.epoch:
                checks.fail(
                    "fit", "epochs", f"at least {state.epoch}, which the run in `backup_dir` has finished",
                    self.params["epochs"], ANEW,
                )  # fmt: skip
            self._restore(state)
            self.model._initial_epoch = state.epoch  # where fit, which reads it right after this, begins

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Selects, when it is time, and publishes the epoch's rows."""
        if self._starting:
            self._take_up(epoch)
            self._starting = False
            self._tell_of_no_selection(epoch)
        labeller = self._labeller
        if self._due(epoch) and labeller.books.round < self.max_iter and not labeller.finished:
            self._select()
        code = functools.partial(encode, labeller.outputs, like=self._feeder().labeled.y[:1])
        self._board.current = Published(epoch, labeller.books.selected, code)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs, and saves the state."""
        if not self._board.was_read:
            checks.fail("fit", "x", "the training set that SelfTraining.training_set returned", "something else")
        if logs is not None:
            found = self._labeller.logs()
            logs |= {name: value for name, value in found.items() if name in PRINTED}
            log_unprinted(self.model, logs, {name: value for name, value in found.items() if name not in PRINTED})
        self._finished_epochs = epoch + 1
        if self._backup is not None:
            books, rewind = self._labeller.books, self._rewinder
            arrays = books.arrays() | numbered("model", training_state(self.model))
            arrays |= {f"rewind/{name}": value for name, value in rewind.arrays().items()}
            facts = books.numbers() | {"rewind": rewind.numbers(), "alarms": [vars(alarm) for alarm in self.alarms_]}
            self._backup.save(epoch + 1, facts, arrays)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the rows from the board, so that a later fit without this callback sees labeled rows only."""
        self._board.current = None
        self.model._initial_epoch = None
        if self._backup is not None:
            self._backup.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the model, which has its own files."""
        return vars(self) | {"_model": None}

    def _due(self, epoch: int) -> bool:
        return epoch >= self.start_epoch and (epoch - self.start_epoch) % self.every == 0

    def _tell_of_no_selection(self, first: int) -> None:
        """Warns when this fit ends before the first selection: it would train on labeled rows alone, and silently."""
        epochs = range(first, self.params.get("epochs") or first)
        if not epochs or not self.max_iter or self._labeller.books.round or any(map(self._due, epochs)):
            return
        if self._start_is_given and epochs.stop == self.start_epoch and not self._was_idle:
            return  # the first part of a longer training
        warnings.warn(
            f"{OWNER}: nothing is selected in this fit, which ends with epoch {epochs[-1]}, counted from 0, while "
            f"start_epoch is {self.start_epoch}. Pass a lower start_epoch or more epochs; in a loop of fits let the "
            "epochs count on: fit(epochs=n + 1, initial_epoch=n).",
            stacklevel=2,
        )

    def _select(self) -> None:
        """Runs a round, and undoes it when it alarms and that is wanted."""
        labeller = self._labeller
        before = None if self.on_alarm == "warn" else labeller.books.copy()
        if before is not None and self.on_alarm == "rollback":
            self._rewinder.stage(before, self.model)
        alarms = labeller.run_round(verbose=self.params.get("verbose") == 1)
        for alarm in alarms:
            warnings.warn(str(alarm), stacklevel=2)
        self.alarms_ += alarms
        if before is not None and any(alarm.undoable for alarm in alarms):
            labeller.books = before
            if self.on_alarm == "rollback":
                labeller.books = self._rewinder.rewind(self.model, before)
        else:
            self._rewinder.commit()

    def _take_up(self, epoch: int) -> None:
        """Decides, in the first epoch of a fit, whether it begins anew, continues, or resumes."""
        self.model._initial_epoch = None  # fit has read it; left set, every later fit would begin there
        if self._backup is not None and self._backup.epochs():
            try:  # another callback may have restored other weights since, or an earlier epoch
                state = self._backup.load(epoch)
            except Damaged as error:
                checks.fail(
                    OWNER, "backup_dir", f"a directory with the state of epoch {epoch}", self._backup.epochs(),
                    f"There, {error}. {ANEW}",
                )  # fmt: skip
            self._restore(state)
        elif epoch == 0 or epoch != self._finished_epochs:
            self._labeller.begin()
            self.alarms_ = []
            self._rewinder = Rewinder()

    def _restore(self, state: State) -> None:
        set_training_state(self.model, unnumbered("model", state.arrays))
        self._labeller.books = Books.restored(state.arrays, state.facts)
        self._rewinder = Rewinder.restored(state.arrays, state.facts["rewind"])
        self.alarms_ = [Alarm(**alarm) for alarm in state.facts["alarms"]]

    def _run(self, feeder: TrainingSet) -> dict[str, str]:
        """What must be the same to go on; a model's only once, since callbacks change settings such as its rate."""
        if self._begun is None or self._begun[0] is not self.model:
            self._begun = self.model, identity_of_model(self.model)
        options = (self.start_epoch, self.every, self.max_iter, self.on_alarm)
        average = self._labeller.choice.average
        teachers = {} if self._teachers is None else identity_of_teachers(self._teachers, self.model, average)
        return self._begun[1] | self._labeller.identity(feeder, options=options) | teachers

    def _labeled(self) -> Labeled:
        return self._feeder().labeled

    def _feeder(self) -> TrainingSet:
        if self._training_set is None:
            checks.fail(
                "fit", "x", "the training set that SelfTraining.training_set returned", "something else",
                "Call fit(st.training_set(x, y, batch_size=64), callbacks=[st]).",
            )  # fmt: skip
        return self._training_set
